"""Programs that wait, already started, through a whole server."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import pytest

from tests.support.server import PATIENCE, Server, wait_for, write_root

pytestmark = [pytest.mark.docker]

IMAGE = "codapi/python"
TIMEOUT = 4 * PATIENCE
MODULES = ["numpy", "pandas"]
SUM = "import pandas\nprint(pandas.DataFrame({'a': range(100)}).a.sum())"
WHO = "import os, sys\nprint('pandas' in sys.modules, os.listdir('/proc/self/fd'), os.getpid())"
BOXES: dict[str, dict[str, Any]] = {
    "fresh": {"memory": 128, "preload": {"python": MODULES}},
    "reused": {"memory": 128, "preload": {"python": MODULES}, "uses": 1000},
    "bare": {"preload": {"python": []}},
    # each fails in its own way
    "missing": {"preload": {"python": ["no_such_module"]}},
    "large": {"memory": 32, "preload": {"python": MODULES}},
    "hanging": {"preload": {"command": ["python", "-c", "input()"]}},
    "dying": {"preload": {"command": ["python", "-c", "import os; os.kill(os.getpid(), 11)"]}},
}
STEP = {"command": ["python", "main.py", ":args"], "timeout": 30}


def ready(server: Server, box: str) -> bool:
    """Return whether a box waits, and none is about to."""
    states = {
        state: server.metric(f'codapi_stock{{box="{box}",state="{state}"}}')
        for state in ("idle", "starting", "preloading", "used")
    }
    return states["idle"] > 0 and sum(states.values()) == states["idle"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose boxes have what waits, or fail to."""
    boxes = {name: {"image": IMAGE, **box} for name, box in BOXES.items()}
    commands = {
        name: {
            "run": {"entry": "main.py", "steps": [{"box": name, **STEP}]},
            "twice": {"entry": "main.py", "steps": [{"box": name, **STEP}] * 2},
        }
        for name in boxes
    }
    root = write_root(tmp_path_factory.mktemp("root"), boxes, commands, {"start_timeout": TIMEOUT})
    with Server(root) as server:
        yield server


_WAS_WAITING = itemgetter("preloaded")


def details(server: Server, sandbox: str, code: str, command: str = "run") -> list[dict[str, Any]]:
    """Return the details of the steps of a successful request."""
    status, answer = server.exec(sandbox, command, code, details=True)
    assert (status, answer["ok"], answer["stderr"]) == (200, True, "")
    return answer["details"]["steps"]


@pytest.mark.parametrize("box", ["fresh", "reused", "bare"])
def test_first_request_finds_its_program_waiting(server: Server, box: str) -> None:
    wait_for(lambda: ready(server, box), 60)
    [step] = details(server, box, WHO)
    assert step["preloaded"]
    # the fourth descriptor is that of the directory
    assert step["stdout"].startswith(f"{box != 'bare'} ['0', '1', '2', '3'] ")


def waited(server: Server, box: str, code: str) -> dict[str, Any]:
    """Return the details of the first run of a program that was waiting.

    Others start as usual: the next program is not there at once.
    """
    return wait_for(lambda: next(filter(_WAS_WAITING, details(server, box, code)), None), 60)


@pytest.mark.parametrize("box", ["fresh", "reused"])
def test_further_requests_find_their_programs_waiting(server: Server, box: str) -> None:
    for _ in range(4):
        assert waited(server, box, SUM)["stdout"] == "4950\n"


def test_request_that_comes_too_early_starts_as_usual(server: Server) -> None:
    wait_for(lambda: ready(server, "reused"), 60)
    seen = [details(server, "reused", SUM)[0]["stdout"] for _ in range(10)]
    assert set(seen) == {"4950\n"}


def test_second_step_starts_as_usual(server: Server) -> None:
    def run() -> bool:
        first, second = details(server, "reused", SUM, "twice")
        assert (second["preloaded"], second["stdout"]) == (False, first["stdout"])
        return bool(first["preloaded"])

    wait_for(run, 60)


def test_each_run_has_a_process_of_its_own(server: Server) -> None:
    def run() -> str:
        code = "import random, pandas\nprint(getattr(pandas, 'mark', 0), random.random())"
        return waited(server, "reused", f"{code}\npandas.mark = 1")["stdout"]

    answers = {run() for _ in range(3)}
    assert len(answers) == 3
    assert {answer.split()[0] for answer in answers} == {"0"}


REASONS = {
    "missing": "exit status 1: ModuleNotFoundError: No module named 'no_such_module'",
    "large": "out of memory",
    "hanging": f"not ready within {TIMEOUT:g} s",
    "dying": "ended by signal 11",
}


@pytest.mark.parametrize("box", REASONS)
def test_failing_preload_is_told_once_and_costs_only_itself(server: Server, box: str) -> None:
    failures = f'codapi_preload_failures_total{{box="{box}"}}'
    wait_for(lambda: server.metric(failures) == 3 and ready(server, box), 60)
    for _ in range(3):
        [step] = details(server, box, "print(42)")
        assert (step["stdout"], step["preloaded"]) == ("42\n", False)
    told = [line for line in server.log.splitlines() if f"box {box}: cannot preload" in line]
    assert len(told) == 1
    assert told[0].endswith(f": {REASONS[box]}")
    assert server.metric(failures) == 3
