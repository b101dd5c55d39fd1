"""The protocol between workers and the keeper, over a Unix socket in the instance's directory.

A message is one packet of JSON. A box is passed as `{"box": {…}}` with its descriptors
(`boxes.handoff`).

| from | message | meaning |
|---|---|---|
| worker | `{"take": NAME}` | asks for a box and for the queue of such boxes |
| keeper | `{"box": {…}}` or `{"box": null}` | the answer; the queue is the first descriptor |
| worker | `{"took": NAME}` | took a box from the queue |
| worker | `{"used": NAME}` | a run is over that took or missed a box |
| worker | `{"box": {…}}` | gives a box back for reuse |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Take:
    """A worker asks for a box."""

    name: str


@dataclass(frozen=True, slots=True)
class Took:
    """A worker took a box from the queue."""

    name: str


@dataclass(frozen=True, slots=True)
class Used:
    """A run is over that took or missed a box."""

    name: str


@dataclass(frozen=True, slots=True)
class Put:
    """A box, or none: `fields` are those of `boxes.handoff`."""

    fields: dict[str, Any] | None


def encode(message: Take | Took | Used | Put) -> bytes:
    """Return the packet of a message."""
    match message:
        case Put(fields):
            return json.dumps({"box": fields}).encode()
        case _:
            return json.dumps({type(message).__name__.lower(): message.name}).encode()


def parse(packet: bytes) -> Take | Took | Used | Put:
    """Return the message of a packet.

    Raises:
        ValueError: the packet is not a message.
    """
    match json.loads(packet):
        case {"take": str(name)}:
            return Take(name)
        case {"took": str(name)}:
            return Took(name)
        case {"used": str(name)}:
            return Used(name)
        case {"box": dict() | None as fields}:
            return Put(fields)
    raise ValueError(f"not a message of the stock: {packet[:40]!r}")
