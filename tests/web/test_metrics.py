import pytest
from prometheus_client import generate_latest

from codapi_flask.models import Execution, Job, Outcome, Report
from codapi_flask.web.metrics import Metrics

JOB = Job("sh_run_1", "sh", "run", "", {})


class FakeState:
    size, lost, swept = 4, 2, 7
    stock = {("sh", "ready"): 3, ("sh", "out"): 1}  # noqa: RUF012
    failed_preloads = {"sh": 5}  # noqa: RUF012
    services = {"db": "ready", "cache": "idle"}  # noqa: RUF012

    def busy(self):
        return 1


def shown(metrics):
    """Return the metrics by name and labels, as the text format has them."""
    lines = generate_latest(metrics.registry).decode().splitlines()
    values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in values}


def count(*outcomes, duration=100, fault=""):
    metrics = Metrics()
    if fault:
        execution = Execution("sh_run_1", fault=fault)
    else:
        execution = Execution.of("sh_run_1", Report(outcomes), duration)
    metrics.count(JOB, execution)
    return shown(metrics)


@pytest.mark.parametrize("reason", ["ok", "exit", "signal", "timeout", "memory", "error"])
def test_executions_are_counted_by_reason(reason):
    values = count(Outcome(reason=reason))
    name = f'codapi_executions_total{{command="run",reason="{reason}",sandbox="sh"}}'
    assert values[name] == 1
    assert values["codapi_kills_total"] == (reason == "timeout")


def test_faults_are_counted_separately():
    values = count(fault="the daemon is gone")
    assert values['codapi_executions_total{command="run",reason="fault",sandbox="sh"}'] == 1


def test_boxes_are_counted_by_kind():
    warm, cold = Outcome(box="sh", kind="warm"), Outcome(box="sh", kind="fresh", fell_back=True)
    values = count(warm, cold)
    assert values['codapi_boxes_total{box="sh",kind="warm"}'] == 1
    assert values['codapi_boxes_total{box="sh",kind="fresh"}'] == 1
    assert values['codapi_fallbacks_total{box="sh"}'] == 1


def test_box_of_each_run_is_counted_once():
    runs = [(Outcome(box="sh", kind=kind), 1) for kind in ("warm", "reused", "reused")]
    runs.append((Outcome(box="sh", kind="cold", reason="timeout"), 1))
    metrics = Metrics()
    report = Report([Outcome(box="gcc", kind="cold"), runs[-1][0]], runs)
    metrics.count(JOB, Execution.of("sh_run_1", report, 100))
    values = shown(metrics)
    boxes = {name: value for name, value in values.items() if "codapi_boxes_total" in name}
    assert boxes == {
        'codapi_boxes_total{box="gcc",kind="cold"}': 1,
        'codapi_boxes_total{box="sh",kind="warm"}': 1,
        'codapi_boxes_total{box="sh",kind="reused"}': 2,
        'codapi_boxes_total{box="sh",kind="cold"}': 1,
    }
    assert values["codapi_kills_total"] == 1
    assert values['codapi_duration_seconds_count{phase="run"}'] == 5


def test_durations_are_counted_in_seconds_by_phase():
    values = count(Outcome(start_ms=20, wall_ms=50), duration=100)
    for phase, seconds in {"start": 0.02, "run": 0.05, "rest": 0.03}.items():
        assert values[f'codapi_duration_seconds_sum{{phase="{phase}"}}'] == pytest.approx(seconds)


def test_cached_execution_is_counted_where_it_ran():
    metrics = Metrics()
    metrics.count(JOB, Execution("sh_run_1", ok=True, reason="ok", is_cached=True))
    assert not any(name.startswith("codapi_executions_total") for name in shown(metrics))


class FakeCache:
    requests = {"hit": 3, "merge": 2, "miss": 1}  # noqa: RUF012

    def usage(self):
        return 5, 700


def test_cache_is_read_at_collection():
    values = shown(Metrics(cache=FakeCache()))
    assert values['codapi_cache_requests_total{result="hit"}'] == 3
    assert values['codapi_cache_requests_total{result="miss"}'] == 1
    assert values["codapi_cache_entries"] == 5
    assert values["codapi_cache_bytes"] == 700


def test_refusals_are_counted():
    metrics = Metrics()
    metrics.count_refused()
    assert shown(metrics)["codapi_refused_total"] == 1


def test_pool_state_is_read_at_collection():
    state = FakeState()
    metrics = Metrics(state)
    state.busy = lambda: 4
    values = shown(metrics)
    assert values["codapi_workers"] == 4
    assert values["codapi_workers_busy"] == 4
    assert values["codapi_workers_lost_total"] == 2
    assert values["codapi_sweeps_total"] == 7
    assert values['codapi_stock{box="sh",state="ready"}'] == 3
    assert values['codapi_preload_failures_total{box="sh"}'] == 5
    assert values['codapi_service{box="db",state="ready"}'] == 1
