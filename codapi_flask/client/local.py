"""Executes requests in this process as a server's worker does, without warm boxes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from codapi_flask.boxes import instance
from codapi_flask.boxes.rootbox import RootBox
from codapi_flask.client.target import Answer, Hear, TargetError
from codapi_flask.config.load import load_config
from codapi_flask.config.model import Config
from codapi_flask.config.offers import offered
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.engines.context import WorkerContext
from codapi_flask.errors import ConfigError, RequestError, ServerFault
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.request import Request
from codapi_flask.live import Live
from codapi_flask.models import (
    INTERNAL_ERROR,
    STARTING,
    UNAVAILABLE,
    Execution,
    Job,
    Printed,
    StepBegan,
)
from codapi_flask.pool.local import LocalExecutor, LocalRun
from codapi_flask.stock.client import StockClient
from codapi_flask.stock.services import Services
from codapi_flask.streams import Cancel

RETRY_INTERVAL = 0.2
"""Seconds between two tries of a request whose service is starting."""


class LocalTarget:
    """Executes requests with a config, in boxes of the local daemon."""

    def __init__(self, source: Path | Config, size: int | None = 1) -> None:
        """Execute up to `size` requests at once, with the config below a root, or a given one.

        Without a size it is the config's `pool_size`. `close` must follow.

        Raises:
            TargetError: the config has errors, or the daemon cannot be used.
        """
        try:
            self._config = source if isinstance(source, Config) else load_config(source)
            directory = instance.work_dir(self._config.work_dir)
        except ConfigError as error:
            raise TargetError("\n".join(["the config cannot be used:", *error.problems])) from error
        self.size = self._config.pool_size if size is None else size
        self._admission = Admission(self._config)
        self._lock = threading.Lock()
        self._is_closing = False
        self._daemon = Daemon(self._config.timeouts)
        with ExitStack() as stack:
            try:
                self._daemon.info()
                self._instance = stack.enter_context(instance.Instance.created(directory))
            except (ServerFault, OSError) as error:
                raise TargetError(f"Docker cannot be used: {error}") from error
            self._executors = [_Executor(self._config, self._instance) for _ in range(self.size)]
            self._free: SimpleQueue[_Executor] = SimpleQueue()
            for executor in self._executors:
                self._free.put(executor)
            stack.callback(self._close_executors)
            self._run_services(stack)
            self._stack = stack.pop_all()

    def execute(self, request: Mapping[str, Any], hear: Hear | None = None) -> Answer:
        """Execute a request; wait for a service that it needs."""
        try:
            asked = Request.parse(dict(request))
            job = self._admission.admit(asked, is_live=hear is not None)
        except RequestError as error:
            return Answer(Execution(error.id, stderr=error.text).answer(), False)
        executor = self._free.get()
        try:
            if self._is_closing:
                raise TargetError("this process is ending")
            execution = executor.execute(job, hear)
        finally:
            self._free.put(executor)
        is_done = not execution.fault
        if execution.stderr in (INTERNAL_ERROR, UNAVAILABLE):
            # what a server writes to its log, the user of this process reads
            execution = replace(execution, stderr=execution.fault)
        return Answer(execution.answer(is_done, asked.outputs), is_done)

    def sandboxes(self) -> list[dict[str, Any]]:
        """Return the sandboxes of the config."""
        try:
            with self._lock:
                found = {name: self._daemon.image(name) for name in self._config.images()}
        except ServerFault as error:
            raise TargetError(f"Docker cannot be used: {error}") from error
        ids = {name: image.id if image else "" for name, image in found.items()}
        return [asdict(sandbox) for sandbox in offered(self._config, ids)]

    def close(self) -> None:
        """Cancel what runs, end the services, and remove what is left."""
        self._is_closing = True
        for executor in self._executors:
            executor.cancel()
        self._stack.close()

    def _run_services(self, stack: ExitStack) -> None:
        """Have each service start when a request needs it."""
        boxes = {
            name: replace(box, service="lazy")
            for name, box in self._config.boxes.items()
            if box.service
        }
        services = Services(boxes, self._instance)

        def run(serve: Callable[[Daemon], None]) -> threading.Thread:
            daemon = Daemon(self._config.timeouts)
            thread = threading.Thread(target=serve, args=[daemon], daemon=True)
            thread.start()
            return thread

        threads = services.run(run)
        for thread in threads:
            stack.callback(thread.join)
        stack.callback(services.end)

    def _close_executors(self) -> None:
        for _ in range(self.size):
            self._free.get().close()


class _Executor:
    """Executes one request at a time."""

    def __init__(self, config: Config, own: instance.Instance) -> None:
        daemon = Daemon(config.timeouts)
        root_box = RootBox(daemon, own, config.images())
        self._hear: Hear | None = None
        context = WorkerContext(daemon, root_box, own, StockClient(own), Cancel(), Live(self._tell))
        self._executor = LocalExecutor(config, context)
        self._run: LocalRun | None = None
        self._is_cancelled = False
        self._patience = max((box.ready_timeout for box in config.boxes.values()), default=0)

    def execute(self, job: Job, hear: Hear | None) -> Execution:
        self._hear, deadline = hear, time.monotonic() + self._patience
        while True:
            self._run = self._executor.start(job)
            if self._is_cancelled:
                self._run.cancel()
            [execution] = self._run
            is_over = self._is_cancelled or time.monotonic() > deadline
            if execution.stderr != STARTING or is_over:
                return execution
            time.sleep(RETRY_INTERVAL)

    def cancel(self) -> None:
        """Cancel what runs, and all that would follow."""
        self._is_cancelled = True
        if self._run:
            self._run.cancel()

    def close(self) -> None:
        self._executor.close()

    def _tell(self, event: StepBegan | Printed) -> None:
        if self._hear and isinstance(event, Printed):
            self._hear(event.stream, event.text)
