"""Servers that share a Docker daemon."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.configs import COMMANDS, KINDS
from tests.support.server import boxes, wait_for

pytestmark = pytest.mark.docker


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False], ids=["one work directory", "two"])
def test_server_sweeps_another_only_once_that_is_dead(
    root, start_server, server_with, start, share
):
    service = {"box": "service", "detach": True, "command": ["sleep", "infinity"]}
    first = start_server(
        root(
            {"sh": KINDS["plain"], "service": {"image": "codapi/sh"}},
            {"sh": {"run": {**COMMANDS["sh"]["run"], "before": service}}},
            step={"timeout": 60},
        )
    )
    (instance,) = first.work_dir.glob("i-*")
    _, answer = start(first, 3)
    # it sweeps at startup
    second = server_with("reused", work_dir=first.work_dir if share else None)
    assert answer.result()[1]["stdout"] == "done\n"

    program, _ = start(first, 60)
    _, answer = start(second, 12)
    assert len(boxes(instance)) == 2
    os.killpg(first.pid, signal.SIGKILL)
    wait_for(lambda: not boxes(instance) and not instance.exists(), 30)
    assert not program.runs()
    assert answer.result()[1]["stdout"] == "done\n"
