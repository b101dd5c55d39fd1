"""Programs whose outputs try to make the server read other files, or to keep a worker busy."""

from __future__ import annotations

import base64
import os

import pytest

from tests.docker.conftest import instance_of

__all__ = ["instance_of"]

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

ROOT = {"user": "root"}
DEVICES = {"cap_add": ["mknod"], "seccomp": "docker"}
GIANTS = {"ulimit": ["fsize=-1", "nofile=96"]}
DENIED = "unreadable: permission denied"
LIMIT = "(limit: 1024 KiB in all)"
WAYS = [
    ("links", {}, {}, {"a link"}),
    ("hard_links", {}, {}, {"a hard link"}),
    ("hard_links", ROOT, {}, {"a hard link"}),
    ("pipes_and_sockets", {}, {}, {"not a regular file"}),
    ("devices", ROOT, DEVICES, {"not a regular file"}),
    ("deep", {}, {}, set()),
    ("deeper", {}, {}, {"its name has more than 1024 bytes"}),
    ("sparse", {}, GIANTS, {f"too large {LIMIT}"}),
    ("names", {}, {}, {"its name is not UTF-8"}),
    ("modes", {}, {}, set()),
    ("growing", {}, {}, {f"too large {LIMIT}"}),
    ("swapped", {}, {}, {"a link"}),
]
REST = "the rest is not looked at: more than 10000 names"
CROWDS = [
    ("files", {"too many files (limit: 16)"}),
    ("directories", set()),
    ("linked", {"a link"}),
]
ENDLESS = ("growing", "swapped")


@pytest.fixture(params=["plain", "warm"])
def kind(request) -> str:
    """Return the kind of boxes: those that can be writable."""
    return request.param


@pytest.fixture
def leave(attack, host):
    """Return a function that runs a hostile program, and returns what comes back."""

    def leave(way, box, **step):
        argv = ["python", "/programs/outputs.py", way, str(host.canary)]
        box = {"volume": "%s:/sandbox", **box}
        files = {"": "entry"}
        wanted = {"wants_files": True, "outputs": ["**", ".*"]}
        seconds = 1 if way in ENDLESS else 20
        execution = attack(
            *argv, box=box, files=files, entry="main", timeout=seconds, **wanted, **step
        )
        assert execution.fault == ""
        assert execution.stderr == ("code execution timeout" if way in ENDLESS else "")
        contents = {
            name: base64.b64decode(url.partition(";base64,")[2])
            for name, url in execution.files.items()
        }
        return contents, {(each.name, each.reason) for each in execution.left_out}

    return leave


@pytest.mark.parametrize(
    ("way", "step", "box", "reasons"), WAYS, ids=[f"{way}-{len(step)}" for way, step, *_ in WAYS]
)
def test_nothing_but_the_programs_own_files_comes_back(leave, way, step, box, reasons):
    """The fixtures check that the answer comes in time, and that the canary is unchanged."""
    contents, left_out = leave(way, box, **step)
    # the canary's content is `alive`
    assert {*contents.values()} <= {b"fine", b"entry", b""}
    assert {reason for _, reason in left_out} == reasons
    assert all(len(name) <= 1025 for name, _ in left_out)
    assert way == "hard_links" or contents["good"] == b"fine"


@pytest.mark.parametrize("kind", ["warm"])
@pytest.mark.parametrize(("way", "reasons"), CROWDS)
def test_ten_thousand_names_are_bounded(leave, way, reasons):
    contents, left_out = leave(way, {})
    assert {*contents.values()} <= {b"fine", b"entry", b""}
    found = {reason for _, reason in left_out if not reason.endswith(" more are left out")}
    assert found == {*reasons, REST}
    assert len(contents) <= 16
    assert len(left_out) <= 102


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("uid", [2000])
def test_server_that_is_not_root_leaves_out_what_it_cannot_read(leave):
    contents, left_out = leave("modes", {})
    assert contents == {"good": b"fine"}
    assert left_out == {(name, DENIED) for name in ("closed", "private", "unreadable")}
