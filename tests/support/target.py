"""A target without a daemon, for tests of what uses one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from codapi_flask.client.target import Answer, Hear, TargetError


def answer(stdout: str = "", stderr: str = "", reason: str = "ok") -> Answer:
    """Return the answer to a request that was executed."""
    details = {"reason": reason, "truncated": {"stdout": False, "stderr": False}}
    body = {"ok": reason == "ok", "stdout": stdout, "stderr": stderr, "details": details}
    return Answer(body, True)


class EchoTarget:
    """Answers each request with its code, or as `respond` does; keeps the requests."""

    size = 2

    def __init__(self, respond: Callable[[str], Answer] = answer) -> None:
        self._respond = respond
        self.requests: list[Mapping[str, Any]] = []

    def execute(self, request: Mapping[str, Any], hear: Hear | None = None) -> Answer:
        self.requests.append(request)
        return self._respond(request["files"][""])

    def sandboxes(self) -> list[dict[str, Any]]:
        raise TargetError("none here")

    def close(self) -> None:
        pass
