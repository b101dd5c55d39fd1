"""Refuses what no worker is idle for: at once, without a thread and without Flask.

A server that is asked for far more than it can do refuses most of the time, and what a refusal
takes is taken from the programs that run.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

from gunicorn.util import http_date

from codapi_flask.access import Access
from codapi_flask.api import BUSY, RETRY_AFTER, Runs
from codapi_flask.errors import RequestError
from codapi_flask.metrics import Metrics
from codapi_flask.models import Execution, Request
from codapi_flask.sandboxes import Sandboxes

BODY_MAX = 1 << 16
"""Bytes of a body that the event loop may parse, which does nothing else meanwhile."""

HEAD = re.compile(rb"POST /v1/exec HTTP/1\.([01])\r\n((?:[A-Za-z-]+:[ -~]*\r\n)+)\r\n")
UNUSUAL = {"content-encoding", "expect", "transfer-encoding", "upgrade"}

log = logging.getLogger("codapi")


def response(status: int, execution: Execution, headers: Mapping[str, str]) -> bytes:
    """Return a whole answer, as it is sent."""
    body = json.dumps(execution.answer())
    fields = {
        "Date": http_date(),
        **headers,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    lines = [f"{name}: {value}" for name, value in fields.items()]
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    return "\r\n".join([head, *lines, "", body]).encode()


class Refusals:
    """Answers for the moments when there is no idle worker."""

    def __init__(self, sandboxes: Sandboxes, pool: Runs, metrics: Metrics, access: Access) -> None:
        self._sandboxes, self._pool = sandboxes, pool
        self._metrics, self._access = metrics, access

    def answer(self, head: bytes, body: bytes) -> tuple[bytes, bool] | None:
        """Return the answer to a request, and whether the connection ends with it.

        Returns `None` for what a worker may execute, for what is to be refused for another
        reason, and for what no browser or proxy sends in this way: the application answers that.
        """
        if not self._pool.is_full() or len(body) > BODY_MAX:
            return None
        fields = _fields(head)
        if not fields or not self._access.is_granted(fields.get("authorization", "")):
            return None
        try:
            job = self._sandboxes.admit(Request.parse(json.loads(body)))
        except (RequestError, ValueError, RecursionError):
            return None
        self._metrics.count_refused()
        log.debug("id=%s refused with 429", job.id)
        headers = {
            "Connection": fields["connection"],
            "Retry-After": RETRY_AFTER,
            **self._access.cors(fields.get("origin", "")),
        }
        answer = response(429, Execution(job.id, stderr=BUSY), headers)
        return answer, fields["connection"] == "close"


def _fields(head: bytes) -> dict[str, str] | None:
    """Return a head's fields by their names in lower case, unless it is an unusual one."""
    found = HEAD.fullmatch(head)
    if not found:
        return None
    pairs = [line.partition(":") for line in found[2].decode().splitlines()]
    fields = {name.lower(): value.strip() for name, _, value in pairs}
    is_doubled = len(fields) < len(pairs)
    fields.setdefault("connection", "keep-alive" if found[1] == b"1" else "close")
    media_type = fields.get("content-type", "").partition(";")[0].rstrip().lower()
    is_usual = (
        media_type == "application/json"
        and fields["connection"] in ("keep-alive", "close")
        and not is_doubled
        and not UNUSUAL & fields.keys()
    )
    return fields if is_usual else None
