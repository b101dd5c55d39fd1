"""Jumps of the wall clock, on which no timing of the server depends.

Only the server's clock jumps; other programs share the machine's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.faults import load, restored, write_config
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for

pytestmark = pytest.mark.docker

YEAR = 365.25 * 24 * 3600


@pytest.mark.slow
def test_clock_jump_fails_no_job(tmp_path, threads):
    offset = tmp_path / "offset"

    def jump(years: int) -> None:
        (tmp_path / "new").write_text(str(years * YEAR))
        os.replace(tmp_path / "new", offset)

    def year(server: Server) -> int:
        date = server.request("GET", "/v1/health").headers["Date"]
        return int(re.search(r"\d{4}", date)[0])

    jump(0)
    clock = {"PYTHONPATH": str(Path(__file__).with_name("clock")), "CLOCK_OFFSET": str(offset)}
    root = write_config(tmp_path / "root")
    with Server(root, **clock) as server, restored(server), load(server) as seen:
        now = year(server)
        for years in (5, -5):
            program = Sleep(1)
            answer = threads.submit(server.exec, "fresh", "run", program.text)
            wait_for(program.runs)
            jump(years)
            assert year(server) == now + years
            assert answer.result(30)[1]["stdout"] == "done\n"
            wait_for(seen.gave("right", count=3), 60)
    assert seen.verdicts() == {"right"}
