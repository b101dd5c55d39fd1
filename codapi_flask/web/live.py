"""Live output: an execution as server-sent events (HTML Standard, section 9.2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from codapi_flask.httpd.edge import Connection
from codapi_flask.jobs.executor import Event, Run
from codapi_flask.live import ACKNOWLEDGE_SIZE
from codapi_flask.models import Execution, Printed, StepBegan

MEDIA_TYPE = "text/event-stream"

HEADERS = {
    "Cache-Control": "no-cache",
    # nginx would keep events back to fill its buffers
    "X-Accel-Buffering": "no",
}


def stream(
    run: Run,
    events: Iterator[Event],
    first: Event,
    connection: Connection,
    heartbeat: float,
    end: Callable[[Execution], dict[str, Any]],
) -> Iterator[bytes]:
    """Yield the events of a run, whose first is there already, to the client of a connection.

    After `heartbeat` seconds without an event it yields a comment. `end` is called with the
    execution, and returns the answer: the last event. A run whose client is gone is cancelled, and
    iterated to its end.
    """
    execution, event, taken = None, first, 0
    try:
        while not isinstance(event, Execution):
            if isinstance(event, Printed):
                taken += len(event.text)
            yield _encode(event)
            beat = time.monotonic() + heartbeat
            while True:
                if taken >= ACKNOWLEDGE_SIZE and not connection.unsent:
                    run.acknowledge(taken)
                    taken = 0
                if connection.wait(run.fileno(), max(beat - time.monotonic(), 0)):
                    break
                if time.monotonic() >= beat:
                    beat += heartbeat
                    yield b":\n\n"
            event = next(events)
        execution = event
        yield _message("result", end(execution))
    finally:
        if not execution:
            run.cancel()
            for event in events:
                if isinstance(event, Execution):
                    end(event)


def _encode(event: Printed | StepBegan) -> bytes:
    place = {"step": event.step} if event.run is None else {"step": event.step, "run": event.run}
    if isinstance(event, StepBegan):
        return _message("progress", place)
    return _message(event.stream, {**place, "text": event.text})


def _message(name: str, content: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n".encode()
