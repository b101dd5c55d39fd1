import json
import re
import shlex
import subprocess
from contextlib import ExitStack

import pytest

from tests.support.documents import (
    DOCS,
    README,
    blocks,
    config_files,
    examples,
    files,
    sections,
    write_config,
)
from tests.support.server import REPOSITORY, Server, wait_for

pytestmark = pytest.mark.docker

SANDBOXES = DOCS / "sandboxes.md"
OWN = re.compile(r"codapi([/-])(c|redis)\b")
MEASURED = {"duration", "wall_ms", "cpu_ms", "memory_kib"}
FILES = {"plot.png", "bars.png"}
SHOWN = [
    pytest.param(*example, id=f"{page.name}-{i}")
    for page in (README, DOCS / "api.md")
    for i, example in enumerate(examples(page.read_text()))
]
SECTIONS = [
    title for title, text in sections(SANDBOXES).items() if config_files(text) and examples(text)
]


def send(server, command):
    """Send the request of a curl command to the test's server."""
    # shlex does not join continued lines
    words = shlex.split(command.replace("\\\n", " "))
    options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
    assert words[0] == "curl"
    assert options.keys() <= {"-H", "-d"}
    name, _, value = options.get("-H", "accept: */*").partition(": ")
    method = "POST" if "-d" in options else "GET"
    path = words[-1].removeprefix("http://localhost:1313")
    return server.request(method, path, options.get("-d"), {name: value}).json()


def likeness(value, key=""):
    """Return a JSON value without the parts that vary."""
    if isinstance(value, dict):
        return {key: likeness(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [likeness(item) for item in value]
    if key in MEASURED:
        return type(value) in (int, float)
    if key == "box":
        return value in ("warm", "cold")
    if key == "id":
        return re.sub(r"_[0-9a-f]{8}$", "", value)
    # the docs show the beginning of a file
    return re.sub(r"(data:image/png;base64,.{11}).*", r"\1", value) if key in FILES else value


def renamed(text):
    """Rename images and containers, to spare those of a reader who followed the docs."""
    return OWN.sub(r"codapi\1test-\2", text)


def docker(command, folder):
    # shlex does not join continued lines
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "docker"
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Build the images from the recipes in the docs."""
    folder = tmp_path_factory.mktemp("images")
    text = renamed(SANDBOXES.read_text())
    for name, code in files(text, "dockerfile", "# ").items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(code)
    for command in blocks(text, "sh"):
        # codapi/python exists; a rebuild would take it from other tests
        if command.startswith("docker build ") and "codapi/python" not in command:
            docker(command, folder)


@pytest.fixture(scope="module")
def server():
    """Return a server with the repository's config, as a reader has."""
    with Server(REPOSITORY) as server:
        yield server


@pytest.mark.parametrize(("command", "answer"), SHOWN)
def test_request_of_the_docs_is_answered_as_shown(server, command, answer):
    shown, answered = json.loads(answer), send(server, command)
    if "sandboxes" in shown:
        # the docs show one of them
        [one] = shown["sandboxes"]
        answered["sandboxes"] = [s for s in answered["sandboxes"] if s["name"] == one["name"]]
    assert likeness(answered) == likeness(shown)


def told(stream):
    """Return the events of a stream without the parts that vary."""
    pairs = (event.split("\n") for event in stream.strip().split("\n\n"))
    return [(name, likeness(json.loads(data.removeprefix("data: ")))) for name, data in pairs]


def test_stream_of_the_docs_comes_as_shown(server):
    text = sections(DOCS / "api.md")["Live output"]
    [command], [shown] = blocks(text, "sh"), blocks(text, "text")
    here = command.replace("http://localhost:1313", server.url).replace("\\\n", " ")
    answered = subprocess.run(["sh", "-c", here], check=True, capture_output=True, text=True)
    assert told(answered.stdout) == told(shown)


@pytest.mark.npm
def test_script_of_the_docs_reads_a_stream(server):
    [script] = blocks(sections(DOCS / "api.md")["Live output"], "js")
    script = script.replace("http://localhost:1313", server.url)
    node = ["node", "--input-type=module", "--eval", script]
    answered = subprocess.run(node, check=True, capture_output=True, text=True).stdout
    assert re.findall("^event: (.*)$", answered, re.MULTILINE) == ["progress", "stdout", "result"]


def test_starters_of_the_repository_run(server):
    sandboxes = server.request("GET", "/v1/sandboxes").json()["sandboxes"]
    assert {"python", "sh"} <= {sandbox["name"] for sandbox in sandboxes}
    installed = [each for each in sandboxes if each["commands"][0]["installed"]]
    for sandbox in installed:
        _, body = server.exec(sandbox["name"], "run", sandbox["starter"])
        assert body["ok"], body


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_sandbox_of_the_docs_works_as_shown(tmp_path, images, start_server, title):
    text = renamed(sections(SANDBOXES)[title])
    server = start_server(write_config(tmp_path / "root", config_files(text)))
    with ExitStack() as stack:
        for command in blocks(text, "sh"):
            if command.startswith("docker run "):
                id = docker(command, REPOSITORY).strip()
                stack.callback(docker, f"docker rm --force --volumes {id}", REPOSITORY)
        # services are
        wait_for(lambda: server.request("GET", "/v1/health?ready=1").status == 200)
        for command, answer in examples(text):
            assert likeness(send(server, command)) == likeness(json.loads(answer))
