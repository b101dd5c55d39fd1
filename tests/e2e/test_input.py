"""Input of programs through a real server: stdin, args and runs over HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.support.configs import BOXES
from tests.support.server import Server, write_root

pytestmark = pytest.mark.docker

SHOW = "import json, sys; print(json.dumps([sys.argv[1:], len(sys.stdin.buffer.read())]))"
STEP = {"box": "python", "command": ["python", "main.py", ":args"]}
COMMANDS = {
    "python": {
        "run": {"entry": "main.py", "steps": [STEP]},
        "cat": {"steps": [{"box": "sh", "command": ["cat"], "stdin": True}]},
    }
}
OK = {"ok": True, "stderr": ""}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with one worker, whose boxes are reused."""
    boxes = {name: {**box, "uses": 1000} for name, box in BOXES.items()}
    top = {"pool_size": 1, "runs_timeout": 2, "step": {"timeout": 20}}
    root = write_root(tmp_path_factory.mktemp("root"), boxes, COMMANDS, top)
    with Server(root) as server:
        yield server


def without_duration(result: dict[str, object]) -> dict[str, object]:
    assert isinstance(result.pop("duration"), int)
    return result


def test_program_gets_stdin_and_args(server):
    stdin = "data:;base64," + base64.b64encode(bytes(range(256)) * 2000).decode()
    args = ["-c", "$(id)", ":args", "a\nb", "\ud800", ""]
    status, body = server.exec("python", "run", SHOW, stdin=stdin, args=args)
    assert (status, body["ok"]) == (200, True)
    assert json.loads(body["stdout"]) == [[*args[:4], "\ufffd", ""], 512_000]
    assert "results" not in body


def test_program_gets_nothing_without_input(server):
    for more in ({}, {"stdin": None, "args": None, "runs": None}, {"stdin": "", "args": []}):
        assert json.loads(server.exec("python", "run", SHOW, **more)[1]["stdout"]) == [[], 0]


def test_input_that_is_not_taken_is_refused(server):
    status, body = server.exec("python", "cat", "x", stdin="1")
    assert (status, body["stderr"]) == (
        400,
        "stdin: the last step of this command reads the files from its stdin, so it takes no other",
    )
    status, body = server.exec("python", "cat", "x", runs=[{"args": ["1"]}])
    text = "this command takes none, as its config has no place for them (':args')"
    assert (status, body["stderr"]) == (400, f"runs[0].args: {text}")


def test_each_run_has_a_result(server):
    kinds = ("cold", "warm", "reused")
    boxes = [f'codapi_boxes_total{{box="python",kind="{kind}"}}' for kind in kinds]
    before = sum(map(server.metric, boxes))
    runs = [{"stdin": "1", "args": ["a"]}, {"stdin": "22"}, {}]
    _, body = server.exec("python", "run", SHOW, runs=runs, details=True)
    details = [result.pop("details") for result in body["results"]]
    texts = [f"{json.dumps(seen)}\n" for seen in ([["a"], 1], [[], 2], [[], 0])]
    assert [without_duration(each) for each in body["results"]] == [
        {**OK, "stdout": text} for text in texts
    ]
    assert (body["ok"], body["stdout"]) == (True, texts[-1])
    more = {"cached": False, "steps": [details[-1]]}
    assert body["details"] == {**details[-1], **more}
    assert [each["stdout"] for each in details] == texts
    assert sum(map(server.metric, boxes)) - before == 3


def test_runs_are_bounded_and_the_worker_goes_on(server):
    code = "import sys, time; print(1, flush=True); time.sleep(float(sys.argv[1]))"
    runs = [{"args": [seconds]} for seconds in ("0", "100", "0")]
    status, body = server.exec("python", "run", code, runs=runs)
    assert (status, body["ok"], body["stderr"]) == (200, False, "code execution timeout")
    assert [without_duration(each) for each in body["results"]] == [
        {**OK, "stdout": "1\n"},
        {"ok": False, "stdout": "", "stderr": "code execution timeout"},
        {"ok": False, "stdout": "", "stderr": "not executed: the runs took 2 s: send fewer"},
    ]
    assert server.exec("python", "run", "print(42)")[1]["stdout"] == "42\n"
    assert server.metric("codapi_workers_lost_total") == 0


def test_runs_of_a_request_that_cannot_be_executed_have_no_results(server):
    files = {"": "x", "../x": ""}
    status, body = server.exec("python", "run", files, runs=[{}, {}])
    assert (status, body["stderr"], body["results"]) == (200, "files[../x]: invalid name", [])
