"""Clients that send the mix and check each answer, while processes are killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, Any

from tests.soak.mix import Case
from tests.support.client import Client
from tests.support.server import Server, wait_for

CLIENTS = 10
HEADERS = {"Content-Type": "application/json"}
LIVE = "text/event-stream"
BUSY = {"ok": False, "duration": 0, "stdout": "", "stderr": "busy: try again later"}
FAULT = {"ok": False, "stdout": "", "stderr": "internal error"}

DEATH = 1.0
"""Seconds after its kill in which a process may still seem to live, on a busy machine."""


@dataclass
class Result:
    """The result of one execution.

    `outcome` is `right`, `no client`, `internal error`, `connection lost`, or else says what is
    wrong. `since` and `until` are when it was sent first and when it was over, `duration` is what
    the answer says of that, in milliseconds.
    """

    case: Case
    outcome: str
    since: float
    until: float
    duration: int = 0


@dataclass
class Load:
    """The executions, refusals and kills of a server."""

    server: Server
    pool_size: int
    results: list[Result] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    kills: list[tuple[float, str]] = field(default_factory=list)
    _fails: threading.Event = field(default_factory=threading.Event)

    def run(self, cases: Iterable[Case], kills: Sequence[str] = ()) -> None:
        """Execute all cases, and kill a process of each of the roles `kills` on the way."""
        todo, lock = list(cases), threading.Lock()
        every = len(todo) // (len(kills) + 1)
        victims = {every * number: role for number, role in enumerate(kills, 1)}

        def client() -> None:
            while not self._fails.is_set():
                with lock:
                    if not todo:
                        return
                    case, victim = todo.pop(), victims.get(len(todo))
                try:
                    if victim:
                        self._kill(victim)
                    self.results.append(self._execute(case))
                except BaseException:
                    self._fails.set()
                    raise

        with ThreadPoolExecutor(CLIENTS) as threads:
            for each in [threads.submit(client) for _ in range(CLIENTS)]:
                each.result()

    def unexplained(self) -> list[Result]:
        """Return the wrong results that no kill explains."""
        return [
            result
            for result in self.results
            if result.outcome not in ("right", "no client") and not self._is_explained(result)
        ]

    def allowed(self) -> dict[str, int]:
        """Return the number of answers that the kills may have spoiled, by outcome."""
        roles = Counter(role for _, role in self.kills)
        return {
            "internal error": roles["worker"] + roles["forkserver"] * self.pool_size,
            "connection lost": roles["web"] * CLIENTS,
        }

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results)

    def _is_explained(self, result: Result) -> bool:
        roles = {"internal error": ("worker", "forkserver"), "connection lost": ("web",)}
        return any(
            result.since - DEATH <= instant <= result.until
            for instant, role in self.kills
            if role in roles.get(result.outcome, ())
        )

    def _kill(self, role: str) -> None:
        victims = wait_for(lambda: self.server.pids[role], 30)
        self.kills.append((time.monotonic(), role))
        os.kill(victims[len(self.kills) % len(victims)], signal.SIGKILL)

    def _execute(self, case: Case) -> Result:
        since = time.monotonic()
        if case.leaves is not None:
            self._leave(case)
            return Result(case, "no client", since, time.monotonic())
        try:
            status, body = self._ask(case)
        except (ConnectionError, http.client.HTTPException):
            return Result(case, "connection lost", since, time.monotonic())
        outcome = _outcome(case, status, body)
        return Result(case, outcome, since, time.monotonic(), body.get("duration", 0))

    def _ask(self, case: Case) -> tuple[int, dict[str, Any]]:
        """Return status and answer; retry a refused request on the same connection."""
        data, headers = json.dumps(case.document), dict(HEADERS)
        if case.live:
            headers["Accept"] = LIVE
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, 60)) as connection:
            while True:
                sent = time.monotonic()
                connection.request("POST", "/v1/exec", data, headers)
                with connection.getresponse() as answer:
                    status, again = answer.status, answer.headers["Retry-After"]
                    is_stream = answer.headers["Content-Type"].startswith(LIVE)
                    body = _last(answer) if is_stream else json.load(answer)
                if status != 429 or (again, body) != ("1", {"id": body["id"], **BUSY}):
                    return status, body
                self.refusals.append(time.monotonic() - sent)
                self._fails.wait(case.pause)

    def _leave(self, case: Case) -> None:
        body = json.dumps(case.document).encode()
        accept = f"Accept: {LIVE}\r\n" if case.live else ""
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        request = f"POST /v1/exec HTTP/1.1\r\nHost: a\r\n{accept}{head}".encode() + body
        with Client(self.server) as client:
            client.send(request[: int(len(request) * case.sends)])
            self._fails.wait(case.leaves)
            client.vanish()


def _last(stream: IO[bytes]) -> dict[str, Any]:
    """Return the answer at the end of a stream, which must repeat all that was printed.

    Of several runs, it repeats the last one's. A remembered answer comes alone.
    """
    printed, run = "", None
    *events, result, _ = stream.read().decode().split("\n\n")
    events = [event for event in events if not event.startswith(":")]
    for name, data in (event.split("\n") for event in events):
        if name == "event: stdout":
            event = json.loads(data.removeprefix("data: "))
            printed = event["text"] if event.get("run") != run else printed + event["text"]
            run = event.get("run")
    answer: dict[str, Any] = json.loads(result.removeprefix("event: result\ndata: "))
    if events and answer["ok"] and answer["stdout"] != printed:
        return {"id": answer["id"], "printed": printed}
    return answer


def _outcome(case: Case, status: int, body: dict[str, Any]) -> str:
    """Return the outcome of an answer, `right` only for that of this very execution."""
    id = str(body.get("id"))
    duration = body.get("duration")
    ok, stdout, stderr = case.expected
    right = {
        "id": id,
        "ok": ok,
        "duration": duration,
        "stdout": stdout.replace(":name", id),
        "stderr": stderr.replace(":name", id),
    }
    if case.runs:
        fields = {"ok": ok, "stderr": right["stderr"]}
        right["results"] = [{**fields, "stdout": text + right["stdout"]} for text in case.runs]
        # the answer itself is the last one's
        right["stdout"] = right["results"][-1]["stdout"]
        for result in body.get("results", ()):
            del result["duration"]
    if not re.fullmatch(f"{case.sandbox}_{case.command}_[0-9a-f]{{8}}", id):
        return f"{status}: {body}"
    # the status of a stream is sent before its run has ended
    may_fail = status == 500 or case.live
    if may_fail and body == {"id": id, "duration": body.get("duration"), **FAULT}:
        return "internal error"
    if status == 200 and body == right and isinstance(duration, int):
        return "right"
    return f"{status}: {body} instead of {right}"
