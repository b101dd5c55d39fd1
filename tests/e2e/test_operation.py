"""An operator's settings and checks: tokens, origins, queue, new config, readiness."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pytest

from tests.support.client import Client
from tests.support.configs import COMMANDS, KINDS
from tests.support.daemon import Daemon
from tests.support.server import PATIENCE, serves, wait_for

pytestmark = pytest.mark.docker

HELLO = {"sandbox": "sh", "command": "run", "files": {"": "echo hello"}}
SLEEP = "sleep 1; echo slept"


def test_token_of_the_config_a_file_or_the_environment_is_good(start_server, root):
    directory = root(auth={"tokens": ["one"], "tokens_file": "secrets"})
    (directory / "secrets").write_text("two\nthree\n")
    server = start_server(directory, CODAPI_TOKENS="four")
    for token in ("one", "two", "three", "four"):
        assert server.post(HELLO, Authorization=f"Bearer {token}").status == 200
    refused = server.post(HELLO, Authorization="Bearer five")
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.json()["stderr"].startswith("unauthorized")
    assert server.request("GET", "/metrics").status == 401
    for path in ("/v1/health", "/v1/openapi.json"):
        assert server.request("GET", path).status == 200
    assert server.request("OPTIONS", "/v1/exec").status == 200
    assert not any(token in server.log for token in ("one", "two", "three", "four", "five"))


def test_answer_is_readable_only_by_pages_of_the_origins(start_server, root):
    server = start_server(root(cors={"origins": ["https://a.example"]}))
    allowed = server.post(HELLO, Origin="https://a.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://a.example"
    other = server.post(HELLO, Origin="https://b.example")
    assert other.status == 200
    assert "Access-Control-Allow-Origin" not in other.headers
    for first, *lines, status in (
        ("GET /v1/health HTTP/1.1", 400),
        ("GET /v1/health HTTP/9.9", "Host: a", 400),
        ("GET /v1/health HTTP/1.1", "Host: a", "no header", 400),
        ("POST /v1/exec HTTP/1.1", "Host: a", "Content-Length: 1x", 400),
        ("POST /v1/exec HTTP/1.1", "Host: a", "Content-Length: 9999999", 413),
        ("POST /v1/exec HTTP/1.1", "Host: a", "A: " + "x" * 70_000, 431),
    ):
        with Client(server) as client:
            head = "\r\n".join([first, "Origin: https://a.example", *lines, "", ""])
            client.send(head.encode())
            [answer] = client.answers()
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"


def test_queue_holds_as_many_requests_as_configured(start_server, root):
    server = start_server(root(pool_size=1, queue_timeout=20, queue_size=2))
    server.exec("sh", "run", "true")
    with ThreadPoolExecutor(5) as clients:
        answers = list(clients.map(lambda _: server.exec("sh", "run", SLEEP), range(5)))
    statuses = sorted(status for status, _ in answers)
    assert statuses == [200, 200, 200, 429, 429]
    # the duration excludes the time in the queue
    assert all(body["duration"] < 1900 for _, body in answers)


def test_request_over_the_queue_timeout_is_refused(start_server, root):
    server = start_server(root(pool_size=1, queue_timeout=0.1))
    with ThreadPoolExecutor(2) as clients:
        answers = list(clients.map(lambda _: server.exec("sh", "run", SLEEP), range(2)))
    assert sorted(status for status, _ in answers) == [200, 429]


def test_sighup_reads_a_new_config_and_loses_no_request(start_server, root):
    directory = root(pool_size=2)
    server = start_server(directory)
    file = directory / "configs/commands/sh.json"
    commands = json.loads(file.read_text())
    with ThreadPoolExecutor(1) as client:
        running = client.submit(server.exec, "sh", "run", "sleep 2; echo done")
        wait_for(lambda: server.metric("codapi_workers_busy") == 1)
        file.write_text(json.dumps({**commands, "again": commands["run"]}))
        server.kill(signal.SIGHUP)
        wait_for(lambda: server.exec("sh", "again", "echo new")[0] == 200, 30)
        assert running.result()[1]["stdout"] == "done\n"


def test_web_process_serves_until_its_successor_does(start_server, root, tmp_path):
    daemon = Daemon(tmp_path / "socket")
    # its runs need no call of the daemon
    config = root({"sh": KINDS["reused"]}, {"sh": COMMANDS["sh"]}, pool_size=1)
    server = start_server(config, DOCKER_HOST=daemon.address)
    assert serves(server)
    [old] = server.pids["web"]
    # the first call of each new process
    with daemon.hanging("GET /version") as held:
        server.kill(signal.SIGHUP)
        wait_for(lambda: held, 30)
        assert serves(server)
        assert old in server.pids["web"]
        # its death does not need another signal
        os.kill(max(set(server.pids["web"]) - {old}), signal.SIGKILL)
        wait_for(lambda: len(held) > 1, 30)
        assert serves(server)
    wait_for(lambda: server.pids["web"] and old not in server.pids["web"], 30)
    assert serves(server)
    assert len(server.pids["web"]) == 1
    # the one that was killed may have left something, which this one sweeps
    wait_for(lambda: len(list(server.work_dir.glob("i-*"))) == 1, 30)


def test_reloads_in_quick_succession_never_make_a_third_web_process(start_server, root):
    directory = root(pool_size=1)
    server = start_server(directory)
    file = directory / "configs/commands/sh.json"
    commands = json.loads(file.read_text())
    with ThreadPoolExecutor(1) as client:
        running = client.submit(server.exec, "sh", "run", "sleep 3; echo done")
        wait_for(lambda: server.metric("codapi_workers_busy") == 1)
        for name in ("first", "second", "third"):
            file.write_text(json.dumps({**commands, name: commands["run"]}))
            server.kill(signal.SIGHUP)
            if name == "first":
                # the old process still executes the job
                wait_for(lambda: server.exec("sh", "first", "true")[0] == 200, 30)
        wait_for(lambda: server.exec("sh", "third", "true")[0] == 200, 60)
        assert running.result()[1]["stdout"] == "done\n"
    events = re.findall("Booting worker|Worker exiting", server.log)
    counts = [*accumulate(1 if event.startswith("Booting") else -1 for event in events)]
    assert max(counts) == 2


def test_no_request_waits_for_a_reload(start_server, root):
    server = start_server(root(pool_size=2))
    times, is_over = [], threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            start = time.monotonic()
            assert server.request("GET", "/v1/health").status == 200
            times.append(time.monotonic() - start)

    def run() -> None:
        while not is_over.is_set():
            assert serves(server)

    with ThreadPoolExecutor(2) as clients:
        answers = [clients.submit(client) for client in (ask, run)]
        try:
            for _ in range(2):
                before = server.pids["web"]
                server.kill(signal.SIGHUP)
                wait_for(lambda: set(server.pids["web"]).isdisjoint(before), 30)  # noqa: B023
        finally:
            is_over.set()
        assert [answer.result() for answer in answers] == [None, None]
    # the limit that docs/deploy.md promises
    assert max(times) < PATIENCE


def test_sighup_with_a_broken_config_keeps_the_old_one(start_server, root):
    directory = root(pool_size=2)
    server = start_server(directory)
    (directory / "configs/boxes.json").write_text("{ sh: ")
    server.kill(signal.SIGHUP)
    wait_for(lambda: "the old one stays in force" in server.log, 20)
    assert "configs/boxes.json: line 1:" in server.log
    assert server.exec("sh", "run", "echo still")[1]["stdout"] == "still\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_sighup_with_an_unusable_work_dir_keeps_the_old_config(start_server, root, tmp_path):
    work_dirs = [tmp_path / name for name in ("used", "unfit")]
    for path in work_dirs:
        path.mkdir()
    os.chown(work_dirs[1], 12345, 12345)
    directory = root(pool_size=2, work_dir=str(work_dirs[0]))
    server = start_server(directory, work_dir=work_dirs[0], CODAPI_WORK_DIR="")
    file = directory / "configs/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "work_dir": str(work_dirs[1])}))
    server.kill(signal.SIGHUP)
    wait_for(lambda: "the old one stays in force" in server.log, 20)
    assert f"work_dir: {work_dirs[1]} is not a directory of user 0" in server.log
    assert server.exec("sh", "run", "echo still")[1]["stdout"] == "still\n"


def test_replaced_web_process_keeps_the_config_in_force(start_server, root):
    directory = root(pool_size=2)
    server = start_server(directory)
    (directory / "configs/boxes.json").write_text("{ sh: ")
    (web,) = server.pids["web"]
    os.kill(web, signal.SIGKILL)
    wait_for(lambda: server.pids["web"] not in ([], [web]), 20)
    wait_for(lambda: _answers(server), 20)
    assert server.exec("sh", "run", "echo still")[1]["stdout"] == "still\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGHUP])
def test_web_process_that_cannot_start_is_retried(start_server, root, ending):
    server = start_server(root(pool_size=2))
    os.chown(server.work_dir, 12345, 12345)
    if ending == signal.SIGHUP:
        server.kill(ending)
    else:
        os.kill(*server.pids["web"], ending)
    problem = f"work_dir: {server.work_dir} is not a directory of user 0"
    wait_for(lambda: server.log.count(problem) > 2, 20)
    os.chown(server.work_dir, os.getuid(), os.getgid())
    wait_for(lambda: _answers(server), 20)
    assert server.exec("sh", "run", "echo again")[1]["stdout"] == "again\n"


def _answers(server) -> bool:
    try:
        return server.request("GET", "/v1/health").status == 200
    except OSError:
        return False


def test_readiness_reports_whether_executions_work(start_server, root, tmp_path):
    server = start_server(root())
    assert server.request("GET", "/v1/health?ready=1").status == 200
    nowhere = f"unix://{tmp_path}/none.sock"
    deaf = start_server(root(), DOCKER_HOST=nowhere)
    wait_for(lambda: deaf.request("GET", "/v1/health?ready=1").status == 503, 20)
    assert "none.sock" not in deaf.request("GET", "/v1/health").body.decode()
    assert deaf.request("GET", "/v1/health").status == 200


@pytest.mark.parametrize(
    ("tokens", "host", "warned"),
    [("", "0.0.0.0", True), ("secret", "0.0.0.0", False), ("", "127.0.0.1", False)],
)
def test_server_reachable_by_anybody_logs_a_warning(start_server, root, tokens, host, warned):
    server = start_server(root(), CODAPI_HOST=host, CODAPI_TOKENS=tokens)
    assert ("without a token" in server.log) is warned


def test_used_boxes_of_all_steps_are_uncounted_at_the_end(start_server, root):
    boxes = {"once": {"image": "codapi/sh"}, "again": {"image": "codapi/sh", "uses": 10}}
    steps = [{"box": box, "command": ["true"]} for box in ("once", "again")]
    server = start_server(root(boxes, {"sh": {"run": {"steps": steps}}}))
    assert [server.exec("sh", "run", "text")[1]["ok"] for _ in range(3)] == [True] * 3

    def counts() -> dict[str, str]:
        metrics = server.request("GET", "/metrics").body.decode()
        return dict(re.findall(r'^codapi_stock{box="(\w+)",state="used"} (\S+)$', metrics, re.M))

    # the keeper's counts are up to a second old
    wait_for(lambda: server.metric('codapi_stock{box="once",state="idle"}'))
    wait_for(lambda: counts() == {"once": "0.0", "again": "0.0"})


@pytest.mark.parametrize("uses", [1, 1000])
def test_boxes_of_one_image_with_different_env_share_no_box(start_server, root, uses):
    common = {"image": "codapi/sh", "warm": 1, "uses": uses}
    boxes = {name: {**common, "env": {"TZ": f"XYZ-{name}"}} for name in ("3", "4")}
    command = ["date", "+%z"]
    commands = {box: {"run": {"steps": [{"box": box, "command": command}]}} for box in boxes}
    server = start_server(root(boxes, commands, pool_size=1))
    wait_for(lambda: server.request("GET", "/metrics").body.count(b'state="idle"} 1.0') == 2)
    for name in "343434":
        answer = server.exec(name, "run", "text", details=True)[1]
        assert (answer["stdout"], answer["ok"]) == (f"+0{name}00\n", True)
