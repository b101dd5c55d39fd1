"""Metrics of the server, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from codapi_flask.models import Execution, Job

# from a warm shell to the longest timeouts
BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class State(Protocol):
    """The state of the pool at the moment."""

    size: int
    lost: int

    @property
    def stock(self) -> Mapping[tuple[str, str], int]:
        """The started boxes, by their box's name and their state."""

    @property
    def failed_preloads(self) -> Mapping[str, int]:
        """The failures to preload boxes, by the boxes' name."""

    @property
    def services(self) -> Mapping[str, str]:
        """The services' states by their box."""

    @property
    def swept(self) -> int:
        """The number of containers swept."""

    def busy(self) -> int:
        """Return the number of workers that execute a job."""


class Cache(Protocol):
    """The remembered executions at the moment."""

    @property
    def requests(self) -> Mapping[str, int]:
        """The requests of commands with a cache, by where their answer comes from."""

    def usage(self) -> tuple[int, int]:
        """Return their number, and their size in bytes."""


class Metrics:
    """The counters of one server. Safe for use by many threads."""

    def __init__(self, state: State | None = None, cache: Cache | None = None) -> None:
        """Count executions, and show the state of a pool and of a cache if there is one."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._executions = Counter(
            "codapi_executions",
            "Executions by their outcome; fault: an internal error or a missing image.",
            ["sandbox", "command", "reason"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "codapi_duration_seconds",
            "Time of executions: to get boxes (start), of programs (run), of all else (rest).",
            ["phase"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._start, self._run, self._rest = map(self._durations.labels, ("start", "run", "rest"))
        self._boxes = Counter(
            "codapi_boxes",
            "Boxes that programs ran in, by how they came about.",
            ["box", "kind"],
            registry=self.registry,
        )
        self._kills = Counter(
            "codapi_kills", "Programs killed at their timeout.", registry=self.registry
        )
        self._fallbacks = Counter(
            "codapi_fallbacks",
            "Steps run without init in a box that should have it.",
            ["box"],
            registry=self.registry,
        )
        self._refused = Counter(
            "codapi_refused", "Requests refused: all workers busy.", registry=self.registry
        )
        if state:
            self.registry.register(_StateCollector(state))
        if cache:
            self.registry.register(_CacheCollector(cache))

    def count(self, job: Job, execution: Execution) -> None:
        """Count an execution; one that is cached was counted when it ran."""
        if execution.is_cached:
            return
        reason = "fault" if execution.fault else execution.reason
        self._executions.labels(job.sandbox, job.command, reason).inc()
        rest = execution.duration / 1000
        for step in execution.programs():
            if step.kind:
                self._boxes.labels(step.box, step.kind).inc()
            if step.fell_back:
                self._fallbacks.labels(step.box).inc()
            if step.reason == "timeout":
                self._kills.inc()
            start, run = (step.start_ms or 0) / 1000, (step.wall_ms or 0) / 1000
            self._start.observe(start)
            self._run.observe(run)
            rest -= start + run
        self._rest.observe(max(rest, 0))

    def count_refused(self) -> None:
        """Count a request that found no idle worker."""
        self._refused.inc()


class _StateCollector:
    """Reads the state of the pool at each scrape."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        state = self._state
        yield GaugeMetricFamily("codapi_workers", "Workers of the pool.", state.size)
        yield GaugeMetricFamily("codapi_workers_busy", "Workers at work.", state.busy())
        yield CounterMetricFamily("codapi_workers_lost", "Workers that were replaced.", state.lost)
        yield CounterMetricFamily("codapi_sweeps", "Containers of the dead removed.", state.swept)
        stock = GaugeMetricFamily("codapi_stock", "Boxes with init.", labels=["box", "state"])
        for (box, name), count in state.stock.items():
            stock.add_metric([box, name], count)
        yield stock
        text = "Failures of what is preloaded in boxes."
        failed = CounterMetricFamily("codapi_preload_failures", text, labels=["box"])
        for box, count in state.failed_preloads.items():
            failed.add_metric([box], count)
        yield failed
        text = "Services: 1 for the state that each has."
        services = GaugeMetricFamily("codapi_service", text, labels=["box", "state"])
        for box, name in state.services.items():
            services.add_metric([box, name], 1)
        yield services


class _CacheCollector:
    """Reads the state of the remembered executions at each scrape."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        text = "Requests of commands with a cache, by where their answer comes from."
        requests = CounterMetricFamily("codapi_cache_requests", text, labels=["result"])
        for result, count in self._cache.requests.items():
            requests.add_metric([result], count)
        yield requests
        entries, size = self._cache.usage()
        yield GaugeMetricFamily("codapi_cache_entries", "Remembered answers.", entries)
        yield GaugeMetricFamily("codapi_cache_bytes", "Size of the remembered answers.", size)
