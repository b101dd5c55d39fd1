"""Load shedding: answers 429 from the event loop while all workers are busy.

An overloaded server refuses most requests, at the cost of the programs that run. A refusal through
a thread and Flask costs four times as much.
"""

from __future__ import annotations

import json
import logging
import re

from codapi_flask.errors import RequestError
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.executor import Executor
from codapi_flask.jobs.request import Request
from codapi_flask.web import answers
from codapi_flask.web.access import Access
from codapi_flask.web.metrics import Metrics

BODY_MAX = 1 << 16
"""Limit on a body that the event loop parses, in bytes: it serves no other client meanwhile."""

HEAD = re.compile(rb"POST /v1/exec HTTP/1\.([01])\r\n((?:[A-Za-z-]+:[ -~]*\r\n)+)\r\n")
UNUSUAL = {"content-encoding", "expect", "transfer-encoding", "upgrade"}

log = logging.getLogger("codapi")


class Shedding:
    """Answers the usual request that needs a worker while none is idle."""

    def __init__(
        self, admission: Admission, executor: Executor, metrics: Metrics, access: Access
    ) -> None:
        self._admission, self._executor = admission, executor
        self._metrics, self._access = metrics, access

    def answer(self, head: bytes, body: bytes) -> tuple[bytes, bool] | None:
        """Return the answer to a request, and whether the connection ends with it.

        Returns `None` for a request that the application answers: one that a worker may execute,
        one with another error, or one with an unusual head.
        """
        if not self._executor.is_full() or len(body) > BODY_MAX:
            return None
        fields = _fields(head)
        if not fields or not self._access.is_granted(fields.get("authorization", "")):
            return None
        try:
            job = self._admission.admit(Request.parse(json.loads(body)))
        except (RequestError, ValueError, RecursionError):
            return None
        if not self._executor.needs_worker(job):
            return None
        self._metrics.count_refused()
        log.debug("id=%s refused with 429", job.id)
        headers = {
            "Connection": fields["connection"],
            **self._access.cors(fields.get("origin", "")),
        }
        busy = answers.refusal(answers.busy(job.id))
        return answers.encode(429, busy, headers), fields["connection"] == "close"


def _fields(head: bytes) -> dict[str, str] | None:
    """Return a head's fields by lower-case name, `None` for an unusual head."""
    found = HEAD.fullmatch(head)
    if not found:
        return None
    pairs = [line.partition(":") for line in found[2].decode().splitlines()]
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    is_doubled = len(fields) < len(pairs)
    if found[1] == b"1" and "host" not in fields:
        return None
    fields.setdefault("connection", "keep-alive" if found[1] == b"1" else "close")
    media_type = fields.get("content-type", "").partition(";")[0].rstrip().lower()
    is_usual = (
        media_type == "application/json"
        and fields["connection"] in ("keep-alive", "close")
        and not is_doubled
        and not UNUSUAL & fields.keys()
    )
    return fields if is_usual else None
