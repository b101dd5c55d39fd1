"""A real server for a test: gunicorn, its pool and the Docker daemon."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

PATIENCE = float(os.environ.get("CODAPI_TEST_PATIENCE", "1"))
"""How much slower than a quiet machine this one may be."""

REPOSITORY = Path(__file__).parents[2]
GUNICORN = str(Path(sys.executable).with_name("gunicorn"))

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 10) -> T:
    """Return the condition's first true value; fail when it has none in time.

    A slow machine gets `PATIENCE` times as many seconds.
    """
    deadline = time.monotonic() + seconds * PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.01)
    return value


def write_root(
    root: Path, boxes: Mapping[str, Any], commands: Mapping[str, Any], top: Mapping[str, Any]
) -> Path:
    """Write a config in Codapi's third layout; `commands` is by sandbox, then by name.

    On a very slow machine boxes have more time to start.
    """
    top = {"start_timeout": max(10, 3 * PATIENCE), **top}
    (root / "configs/commands").mkdir(parents=True)
    (root / "configs/config.json").write_text(json.dumps(top))
    (root / "configs/boxes.json").write_text(json.dumps(boxes))
    for sandbox, by_name in commands.items():
        (root / f"configs/commands/{sandbox}.json").write_text(json.dumps(by_name))
    return root


def environment(root: Path, **more: str) -> dict[str, str]:
    """Return this process's environment for a server on a free port, without CODAPI_ names."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CODAPI_")}
    return {**own, "CODAPI_ROOT": str(root), "PORT": "0", **more}


class Answer(NamedTuple):
    """An answer of the server, whatever its status."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A running server; leaving the `with` ends it and checks that nothing of it stays.

    Without a `work_dir` it has its own, below /var/tmp as real ones are. `arguments` are
    gunicorn's, `cwd` is where it starts, `timeouts` change `config.timeouts`, `variables` are the
    environment's. With `has_logger`, the process `logger` reads its log from a short pipe.
    """

    def __init__(
        self,
        root: Path,
        *arguments: str,
        work_dir: Path | None = None,
        cwd: Path = REPOSITORY,
        timeouts: Mapping[str, float] | None = None,
        has_logger: bool = False,
        **variables: str,
    ) -> None:
        self._own = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
        self.root, self.work_dir = root, work_dir or self._own / "work"
        self._log = self._own / "log"
        variables = {"CODAPI_WORK_DIR": str(self.work_dir), **variables}
        variables["CODAPI_TEST_TIMEOUTS"] = json.dumps(dict(timeouts or {}))
        # a session of its own: a test may signal the whole group, as a terminal does
        with ExitStack() as stack:
            log: IO[Any] = stack.enter_context(self._log.open("w"))
            self.logger = None
            if has_logger:
                pipes = {"stdin": subprocess.PIPE, "stdout": log, "pipesize": 4096}
                self.logger = subprocess.Popen(["cat"], start_new_session=True, **pipes)
                log = stack.enter_context(self.logger.stdin)
            self._process = subprocess.Popen(
                [GUNICORN, *arguments],
                cwd=cwd,
                env=environment(root, **variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self.port = int(wait_for(self._listens, 30)[1])
            wait_for(lambda: self.request("HEAD", "/v1/health").status == 200, 30)
        except BaseException:
            self._end()
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the server has written to its terminal."""
        return self._log.read_text()

    @property
    def pids(self) -> dict[str, list[int]]:
        """The living processes by role: master, web, forkserver, keeper, worker."""
        roles = defaultdict(list)
        for pid in self._processes():
            # the process may end meanwhile
            with suppress(FileNotFoundError, ProcessLookupError):
                roles[self._role(pid)].append(pid)
        return roles

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def post(self, document: object, **headers: str) -> Answer:
        """Post a JSON document to be executed."""
        headers = {"Content-Type": "application/json", **headers}
        return self.request("POST", "/v1/exec", json.dumps(document), headers)

    def exec(
        self, sandbox: str, command: str, files: str | Mapping[str, str], **extra: object
    ) -> tuple[int, dict[str, Any]]:
        """Have a command executed; return status and body. A text is the entry file's."""
        if isinstance(files, str):
            files = {"": files}
        document = {"sandbox": sandbox, "command": command, "files": files, **extra}
        answer = self.post(document)
        return answer.status, answer.json()

    def metric(self, name: str) -> float:
        """Return the value of a metric, with its labels if it has any; 0 if it is not shown yet."""
        lines = self.request("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send the master process a signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server by a signal to its master; return the exit status."""
        self.kill(number)
        return self._process.wait(60)

    def containers(self) -> list[str]:
        """Return the ids of all containers of servers with this work directory."""
        form = '{{.ID}} {{.Label "codapi.instance"}}'
        command = ["docker", "ps", "--all", "--no-trunc", "--filter", "label=codapi.instance"]
        found = subprocess.check_output([*command, "--format", form], text=True, timeout=30)
        lines = (line.partition(" ") for line in found.splitlines())
        return [id for id, _, path in lines if path.startswith(f"{self.work_dir}/")]

    def leftovers(self) -> list[str]:
        """Return everything of this server: containers, processes, directories."""
        directories = self.work_dir.glob("i-*")
        return [*self.containers(), *map(str, self._processes()), *map(str, directories)]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process.poll() is None:
                self.stop()
            # another server may be sweeping; the daemon removes about ten boxes a second
            wait_for(lambda: not self.leftovers(), 3 + len(self.containers()) / 5)
        finally:
            self._end()

    def _end(self) -> None:
        for pid in self._processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        if self.logger:
            self.logger.kill()
            self.logger.wait()
        print(self.log)
        if containers := self.containers():
            subprocess.run(["docker", "rm", "--force", *containers], check=True)
        shutil.rmtree(self._own)

    def _listens(self) -> re.Match[str] | None:
        assert self._process.poll() is None, self.log
        return re.search(r"Listening at: http://\S+:(\d+)", self.log)

    def _processes(self) -> list[int]:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            state, _, _, session = _stat(pid)[:4]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return session == str(self.pid) and state != "Z"

    def _role(self, pid: int) -> str:
        if pid == self.pid:
            return "master"
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name.startswith("codapi-"):
            return name.removeprefix("codapi-")
        command = Path(f"/proc/{pid}/cmdline").read_text()
        found = re.search(r"multiprocessing\.(\w+)", command)
        return found[1] if found else "web"


def _stat(pid: int) -> list[str]:
    """Return state, parent, group, session ... of a process (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def boxes(instance: Path, state: str = "") -> list[str]:
    """Return the containers of an instance, in that state or in any."""
    filters = [f"--filter=label=codapi.instance={instance}"]
    if state:
        filters.append(f"--filter=status={state}")
    command = ["docker", "ps", "--all", "--quiet", *filters]
    return subprocess.check_output(command, text=True).split()


def serves(server: Server) -> bool:
    """Tell whether a server runs programs."""
    try:
        return server.exec("sh", "run", "echo hello")[1]["stdout"] == "hello\n"
    except OSError:
        return False


def is_unavailable(answer: tuple[int, dict[str, Any]]) -> bool:
    """Tell whether an answer is that of a server without its Docker daemon."""
    status, body = answer
    text = "unavailable: Docker is down, try again later"
    return (status, body["ok"], body["stderr"]) == (503, False, text) and "_run_" in body["id"]


def is_server_fault(answer: tuple[int, dict[str, Any]]) -> bool:
    """Tell whether an answer is that of a server fault, not of the program's failure."""
    status, body = answer
    rest = {"ok": False, "duration": body["duration"], "stdout": "", "stderr": "internal error"}
    return status == 500 and body == {"id": body["id"], **rest} and "_run_" in body["id"]
