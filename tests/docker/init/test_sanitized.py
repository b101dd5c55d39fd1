"""init built with AddressSanitizer, as process 1 of a Debian box."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.compiler import SOURCES
from tests.support.initbox import Box

pytestmark = pytest.mark.docker


def test_sanitized_init_finds_no_memory_error(
    start_box: Callable[..., Box], compile_c: Callable[..., Path]
) -> None:
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    libraries = ["-static-libasan", "-static-libubsan"]
    box = start_box(
        program=compile_c("init", *sanitize, *libraries, *sorted(SOURCES.glob("*.c"))),
        config={"environment": ["ASAN_OPTIONS=detect_leaks=0"]},
        mem_limit=512 << 20,
        memswap_limit=512 << 20,
        tmpfs={"/tmp": ""},
    )
    assert box.run(["echo", "x" * 60_000], "sandbox", env=["A=b"] * 900).stdout.endswith("x\n")
    assert box.reset().ok
    waiting = ["sh", "-c", "printf x >&4; exec 4>&-; exec xargs -0 <&3 3<&- sh -c 'echo \"$2\"'"]
    preload = box.preload(waiting, env=["A=b"] * 900)
    assert box.news().waits
    run = preload.run(["sh", "x" * 60_000, "last"], env=["A=b"] * 900)
    assert (run.stdout, run.done.preloaded) == ("last\n", True)
    box.preload(["false"])
    assert not box.news().waits
    assert box.preload(["sleep", "1000"]).run(["echo", "usual"]).stdout == "usual\n"
    assert box.run(["nope"]).status == 127
    assert box.run(["true"], "nosuch:none").status == 125
    assert box.run(["true"], "0:1").status == 0
    assert box.sh("setsid sleep 1000 & sleep 1000", "daemon", timeout=0.2).done.signal == 9
    tree = "mkdir -p /tmp/a/b/c/d; touch /tmp/a/b/c/d/e; chmod 0 /tmp/a/b; ipcmk -Q"
    assert box.sh(tree, "nobody").stderr == ""
    assert box.reset().ok
    assert box.run(["ls", "/tmp"]).stdout == ""
    assert box.is_running()
