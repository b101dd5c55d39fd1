"""The unit of docs/deploy.md under systemd: runs while it reloads, restarts and stops."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.configs import KINDS
from tests.support.server import PATIENCE, wait_for, write_root

pytestmark = pytest.mark.skipif(
    "unit" not in os.environ.get("CODAPI_REQUIRE", "").split(","),
    reason="restarts codapi.service: only for the machine of `make vm`",
)

# where the unit's user can read, and PrivateTmp hides nothing
ROOT = Path("/run/codapi-test")
SETTINGS = Path("/run/systemd/system/codapi.service.d/test.conf")
WORK = Path("/var/lib/codapi")
BOXES = {**KINDS, "fresh": {**KINDS["fresh"], "warm": 1}}


def systemctl(*arguments: str) -> str:
    return subprocess.check_output(["systemctl", *arguments], text=True).strip()


def prop(name: str) -> str:
    return systemctl("show", "--property", name, "--value", "codapi.service")


def get(path: str) -> tuple[int, str]:
    """Return the status, 0 without a server, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", 1313, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def run(sandbox: str, code: str) -> str:
    """Return what the code prints in that kind of box."""
    document = {"sandbox": sandbox, "command": "run", "files": {"": code}}
    connection = http.client.HTTPConnection("127.0.0.1", 1313, timeout=300)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/exec", json.dumps(document), headers)
    answer = json.load(connection.getresponse())
    connection.close()
    return answer["stdout"] + answer["stderr"]


def is_ready() -> bool:
    return get("/v1/health?ready=1")[0] == 200


def is_busy(workers: int) -> bool:
    return f"codapi_workers_busy {workers}.0" in get("/metrics")[1]


@pytest.fixture(scope="module", autouse=True)
def unit() -> Iterator[None]:
    """Serve a box of each kind, with the installed unit."""
    step = {"command": ["sh", "main.sh"], "timeout": int(30 * PATIENCE)}
    commands = {
        name: {"run": {"entry": "main.sh", "steps": [{**step, "box": name}]}} for name in BOXES
    }
    shutil.rmtree(ROOT, ignore_errors=True)
    write_root(ROOT, BOXES, commands, {"pool_size": 4, "start_timeout": int(10 * PATIENCE)})
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text(f"[Service]\nEnvironment=CODAPI_ROOT={ROOT}\n")
    systemctl("daemon-reload")
    systemctl("restart", "codapi.service")
    try:
        wait_for(is_ready, 30)
        yield
    finally:
        print(subprocess.check_output(["journalctl", "--unit=codapi", "--lines=200"], text=True))
        SETTINGS.unlink()
        systemctl("daemon-reload")
        systemctl("stop", "codapi.service")
        shutil.rmtree(ROOT)


@pytest.mark.parametrize("kind", BOXES)
def test_box_under_the_unit_runs_a_program(kind):
    for _ in range(2):
        assert run(kind, "echo hello") == "hello\n"


@pytest.mark.parametrize("action", ["reload", "restart", "stop"])
def test_runs_finish_when_the_unit(action):
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(run, kind, "sleep 3; echo done") for kind in BOXES]
        wait_for(lambda: is_busy(len(BOXES)), 30)
        systemctl(action, "codapi.service")
        assert [answer.result() for answer in answers] == ["done\n"] * len(BOXES)
    if action == "stop":
        assert prop("Result") == "success"
        assert list(WORK.glob("i-*")) == []
        systemctl("start", "codapi.service")
    wait_for(is_ready, 30)
    assert [run(kind, "echo again") for kind in BOXES] == ["again\n"] * len(BOXES)


def test_killed_server_is_started_again():
    os.kill(int(prop("MainPID")), signal.SIGKILL)
    wait_for(lambda: prop("NRestarts") != "0", 30)
    wait_for(is_ready, 30)
    assert run("fresh", "echo again") == "again\n"


def test_tasks_and_memory_are_far_from_their_limits():
    assert int(prop("TasksCurrent")) < int(prop("TasksMax")) / 4
    assert int(prop("MemoryCurrent")) < int(prop("MemoryMax")) / 4
