"""`codapi sandbox` with recipes in the form of Codapi's registry."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.instance import docker

COMMANDS = {"run": {"entry": "main.sh", "steps": [{"box": "greet", "command": ["sh", "main.sh"]}]}}
EXAMPLE = "Greets.\n-- main.sh --\ncat /greeting\n-- stdout --\nhello\n"


@pytest.fixture
def image():
    """Return the name of an image that does not exist yet."""
    name = f"codapi-test/{secrets.token_hex(4)}"
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True)


@pytest.fixture
def recipe(tmp_path, image) -> Path:
    """Return a folder with a recipe."""
    folder = tmp_path / "registry/sandboxes/greet"
    folder.mkdir(parents=True)
    (folder / "box.json").write_text(json.dumps({"image": image}))
    (folder / "commands.json").write_text(json.dumps(COMMANDS))
    (folder / "Dockerfile").write_text("FROM codapi/sh\nCOPY greeting /greeting\n")
    (folder / "greeting").write_text("hello\n")
    (folder / "build.sh").write_text("touch built\n")
    (folder / "examples").mkdir()
    (folder / "examples/hello.txt").write_text(EXAMPLE)
    return folder


@pytest.fixture
def here(root) -> Path:
    return root()


def archive(path: Path, folder: Path) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, "greet")
    return path


def repository(folder: Path) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    return f"file://{folder}"


@pytest.mark.docker
def test_sandbox_is_added_built_tested_and_removed(codapi, recipe, here, image):
    at = "--root", str(here)
    assert codapi("sandbox", "add", str(recipe), *at).status == 0
    assert codapi("sandbox", "build", "greet", *at).status == 0
    ended = codapi("sandbox", "test", "greet", *at)
    assert ended == (0, "passed  greet hello\n1 of 1 examples passed\n", "")
    status, stdout, _ = codapi("sandbox", "rm", "greet", *at)
    assert (status, stdout.splitlines()[-1]) == (0, f"removed the image {image}")
    assert not (here / "sandboxes/greet").exists()
    assert not docker("images", "--quiet", image)


@pytest.mark.docker
def test_example_that_fails_is_shown(codapi, recipe, here):
    (recipe / "greeting").write_text("good-bye\n")
    at = "--root", str(here)
    codapi("sandbox", "add", str(recipe), *at)
    codapi("sandbox", "build", "greet", *at)
    status, stdout, _ = codapi("sandbox", "test", "greet", *at)
    assert (status, "stdout must be 'hello', not 'good-bye'" in stdout) == (1, True)


@pytest.mark.parametrize("form", ["folder", "archive", "git", "registry"])
def test_recipe_comes_from_any_source(codapi, recipe, here, tmp_path, form):
    source, words = str(recipe), []
    if form == "archive":
        source = str(archive(tmp_path / "greet.tar.gz", recipe))
    elif form == "git":
        source, words = repository(recipe), ["--name", "greet"]
    elif form == "registry":
        source, words = str(recipe.parents[1]), ["greet"]
    ended = codapi("sandbox", "add", source, *words, "--root", str(here))
    assert ended.status == 0, ended
    assert json.loads((here / "sandboxes/greet/commands.json").read_text()) == COMMANDS


@pytest.mark.parametrize("runs", [False, True])
def test_scripts_are_shown_and_run_only_on_request(codapi, recipe, here, runs):
    words = ["--run-scripts"] if runs else []
    _, stdout, _ = codapi("sandbox", "add", str(recipe), *words, "--root", str(here))
    assert (here / "sandboxes/greet/built").exists() == runs
    assert ("build.sh was not run (--run-scripts):\ntouch built\n" in stdout) != runs


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("greet/link", tarfile.SYMTYPE, "greet/link is a link or a device"),
        ("greet/hard", tarfile.LNKTYPE, "greet/hard is a link or a device"),
        ("greet/device", tarfile.CHRTYPE, "greet/device is a link or a device"),
        ("greet/pipe", tarfile.FIFOTYPE, "greet/pipe is a link or a device"),
        ("../evil", tarfile.REGTYPE, "../evil leads out of the archive"),
        ("/evil", tarfile.REGTYPE, "/evil leads out of the archive"),
    ],
)
def test_unsafe_archive_is_refused(codapi, here, tmp_path, name, kind, text):
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member, BytesIO())
    status, _, stderr = codapi("sandbox", "add", str(tmp_path / "bad.tar.gz"), "--root", str(here))
    assert (status, text in stderr) == (1, True), stderr
    assert not (here / "sandboxes").exists()


def test_folder_with_a_link_is_refused(codapi, recipe, here):
    os.symlink("/etc/passwd", recipe / "passwd")
    status, _, stderr = codapi("sandbox", "add", str(recipe), "--root", str(here))
    assert (status, "a recipe holds neither links nor devices" in stderr) == (1, True)


def test_recipe_with_errors_leaves_nothing(codapi, recipe, here):
    (recipe / "box.json").write_text('{"image": 5}')
    status, _, stderr = codapi("sandbox", "add", str(recipe), "--root", str(here))
    assert (status, "sandboxes/greet/box.json: image: must be" in stderr) == (1, True)
    assert not (here / "sandboxes/greet").exists()


def test_name_that_is_taken_is_refused(codapi, recipe, here):
    words = "sandbox", "add", str(recipe), "--name", "sh", "--root", str(here)
    assert codapi(*words) == (1, "", "codapi: the sandbox sh is there already: remove it first\n")


def test_sandbox_whose_box_others_need_stays(codapi, recipe, here):
    codapi("sandbox", "add", str(recipe), "--root", str(here))
    other = here / "configs/commands/other.json"
    other.write_text(json.dumps(COMMANDS))
    status, _, stderr = codapi("sandbox", "rm", "greet", "--root", str(here))
    assert (status, "other.json: run.steps[0].box: no box named 'greet'" in stderr) == (1, True)
    assert (here / "sandboxes/greet/greeting").exists()


def test_source_that_is_none_is_named(codapi, here):
    status, _, stderr = codapi("sandbox", "add", "nothing", "--root", str(here))
    assert (status, stderr) == (1, "codapi: nothing: is no folder, no archive and no git URL\n")
