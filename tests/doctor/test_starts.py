"""How boxes start, with and without init."""

from __future__ import annotations

import re

import pytest

from codapi_flask.doctor import starts

pytestmark = pytest.mark.docker


def test_cold_run_is_measured(subject):
    [finding] = starts.cold(subject())
    assert finding.verdict in ("fine", "weak")
    assert re.match(r"a run takes \d+ ms with the start of its box", finding.text)


def test_warm_run_is_measured_and_leaves_nothing(subject, tmp_path):
    host = subject()
    [finding] = starts.warm(host)
    assert finding.verdict == "fine"
    assert re.match(r"a run takes \d+ ms in a box that waits", finding.text)
    assert host.instance.leases() == []
    host.close()
    assert [path.name for path in (tmp_path / "work-dir").iterdir()] == ["lock"]


def test_missing_image_is_broken_with_the_command_that_builds_it(subject):
    [finding] = starts.cold(subject(renamed={b"codapi/sh": b"codapi/no"}))
    assert (finding.verdict, finding.remedy) == ("broken", "codapi sandbox build sh")


def test_init_that_does_not_report_is_weak(subject):
    # it refuses to start without no-new-privileges
    [finding] = starts.warm(subject(renamed={b'"SecurityOpt"': b'"XecurityOpt"'}))
    assert finding.verdict == "weak"
    assert finding.text.startswith("no box can wait, each run gets a plain container: init does")
    assert finding.remedy


def test_daemon_of_another_host_keeps_no_boxes(subject, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    [finding] = starts.warm(subject())
    assert finding.verdict == "weak"
    assert finding.text == "no box can wait: the daemon at tcp://127.0.0.1:9 is on another host"
