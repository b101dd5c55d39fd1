"""Programs that replace files in the work directory with links to the host."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

WRITABLE = {"volume": "%s:/sandbox"}
FILES = {"": "entry", "a": "text", "d/e/f": "text"}
FOLLOW = {"box": "other", "command": ["sh", "/programs/follow"], "user": "root"}


@pytest.mark.parametrize("count", ["0", "1000000"])
@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_links_to_the_host_are_not_followed(execute, host, image, count):
    """The fixture checks that the canary on the host is unchanged."""
    argv = ["python", "/programs/swap.py", str(host.canary), count]
    swap = {"box": "box", "command": argv, "timeout": 1}
    boxes = {name: {"image": image, **WRITABLE} for name in ("box", "other")}
    execution = execute(swap, FOLLOW, after=FOLLOW, boxes=boxes, files=FILES, entry="main")
    assert execution.fault == ""
    expected = "" if count == "0" else "code execution timeout"
    assert execution.stderr == expected
