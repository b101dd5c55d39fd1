"""What all executions of one worker share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from codapi_flask.boxes.box import can_have_init
from codapi_flask.boxes.instance import Instance
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.config.model import BoxSpec
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.live import Live
from codapi_flask.stock.client import StockClient
from codapi_flask.streams import Cancel


@dataclass(slots=True)
class WorkerContext:
    """What all executions of one worker share.

    `cancel` ends a run early, `live` sends a live run's output. `without_init` maps a box's name to
    the instant until which it runs without init, because its init did not report. `unclean` holds
    boxes' names, each with a way in which its reset has failed.
    """

    daemon: Daemon
    root_box: RootBox
    instance: Instance
    stock: StockClient
    cancel: Cancel
    live: Live = field(default_factory=lambda: Live(lambda event: None))
    without_init: dict[str, float] = field(default_factory=dict)
    unclean: set[tuple[str, str]] = field(default_factory=set)

    def uses_init(self, box: BoxSpec) -> bool:
        """Whether the box may have init; otherwise it is a plain container."""
        is_trusted = time.monotonic() >= self.without_init.get(box.name, 0)
        return is_trusted and can_have_init(box, self.daemon)
