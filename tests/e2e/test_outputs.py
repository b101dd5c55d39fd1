"""Files that programs write, through gunicorn."""

from __future__ import annotations

import base64
from hashlib import md5

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.server import Server, write_root

pytestmark = pytest.mark.docker

FIGURE = """
import matplotlib.pyplot as plt
plt.plot([1, 4, 9])
plt.savefig("plot.png")
plt.savefig("plot.svg")
"""
MANY = """
import numpy, pandas, matplotlib.pyplot as plt
pandas.DataFrame(numpy.random.randn(10_000, 4).cumsum(0), columns=list("abcd")).plot()
plt.savefig("a.png")
figure, axes = plt.subplots(2, 2, figsize=(10, 8), dpi=150)
axes[0, 0].imshow(numpy.random.rand(100, 100))
figure.savefig("b.png")
"""


def contents(body):
    """Return media type and content of each file of an answer."""
    urls = {name: url.split(";base64,") for name, url in body["files"].items()}
    return {name: (kind, base64.b64decode(data)) for name, (kind, data) in urls.items()}


def test_figure_comes_back_in_time(server):
    status, body = server.exec("plot", "run", FIGURE, outputs=True, details=True)
    assert (status, body["ok"], body["stdout"], body["stderr"]) == (200, True, "", "")
    found = contents(body)
    assert {name: kind for name, (kind, _) in found.items()} == {
        "plot.png": "data:image/png",
        "plot.svg": "data:image/svg+xml",
    }
    assert found["plot.png"][1].startswith(b"\x89PNG\r\n\x1a\n")
    assert b"</svg>" in found["plot.svg"][1]
    assert body["details"]["files_left_out"] == []
    # however busy the host is: the time is mostly the processor's
    assert body["details"]["cpu_ms"] < 1500


def test_memory_of_the_plot_sandbox_suffices(server):
    _, body = server.exec("plot", "run", MANY, outputs=True)
    assert (body["stderr"], set(body["files"])) == ("", {"a.png", "b.png"})


@pytest.fixture(scope="module")
def writing(tmp_path_factory):
    """Return a server whose programs write files of up to 2 MiB."""
    step = {**COMMANDS["sh"]["run"]["steps"][0], "outputs": ["*.bin"], "outputs_size": 2048}
    commands = {"sh": {"run": {**COMMANDS["sh"]["run"], "steps": [step]}}}
    boxes = {"sh": {**KINDS["fresh"], "volume": "%s:/sandbox"}}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, commands, {"pool_size": 1})
    with Server(root) as server:
        yield server


def test_large_files_come_back_whole(writing):
    _, body = writing.exec(
        "sh",
        "run",
        "head -c 1M /dev/urandom > a.bin; md5sum a.bin; head -c 1M a.bin > b.bin",
        outputs=True,
    )
    digest, _ = body["stdout"].split()
    assert [md5(data).hexdigest() for _, data in contents(body).values()] == [digest] * 2


def test_files_left_out_are_in_the_details(writing):
    code = "ln -s /etc/passwd a.bin; mkfifo b.bin; echo 1 > c.bin; exit 1"
    _, body = writing.exec("sh", "run", code, outputs=True, details=True)
    assert body["stderr"] == "exit status 1"
    assert contents(body) == {"c.bin": ("data:application/octet-stream", b"1\n")}
    assert body["details"]["files_left_out"] == [
        {"name": "a.bin", "reason": "a link"},
        {"name": "b.bin", "reason": "not a regular file"},
    ]


@pytest.mark.parametrize(
    ("code", "more", "keys"),
    [
        ("echo 1 > a.bin", {"outputs": False}, []),
        ("echo 1 > a.bin", {"details": True}, ["details"]),
        ("true", {"outputs": True}, ["files"]),
        # refused before it ran
        ("true", {"outputs": True, "version": "9"}, []),
    ],
)
def test_answer_has_what_was_asked_for(writing, code, more, keys):
    status, body = writing.exec("sh", "run", code, **more)
    assert (status, [*body][5:]) == (200, keys)
    assert body.get("files", {}) == {}
    assert "files_left_out" not in body.get("details", {})


def test_file_with_an_invalid_name_still_answers_with_files(writing):
    _, body = writing.exec("sh", "run", {"": "true", "../x": ""}, outputs=True, details=True)
    assert (body["stderr"], body["files"]) == ("files[../x]: invalid name", {})
    assert body["details"]["files_left_out"] == []


def test_command_without_outputs_refuses_the_request(server):
    status, body = server.exec("sh", "run", "true", outputs=True)
    assert (status, body["stderr"]) == (
        400,
        "outputs: this command gives no files back: leave it out",
    )
    assert list(body) == ["id", "ok", "duration", "stdout", "stderr"]
