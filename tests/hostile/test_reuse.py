"""Programs that would outlive the reset of a box that is reused.

tests/docker/init/test_reset.py covers the leftovers that a reset finds and deletes.
"""

from __future__ import annotations

import pytest

KINDS = pytest.mark.parametrize("kind", ["reused", "preloaded"])
pytestmark = [pytest.mark.docker, pytest.mark.hostile, KINDS]

BOX = {"tmpfs": ["/tmp", "/more:mode=700,uid=1000"]}
STORM = "for i in $(seq 9); do (while :; do touch /tmp/$i$$ /dev/shm/$i$$; done) & done; wait"
PORT = """
import socket
server = socket.create_server(("127.0.0.1", 5000))
client = socket.create_connection(server.getsockname())
server.accept()[0].close()
client.recv(1)
client.close()
"""
FLOW_LABEL = """
import socket, struct
IPV6_FLOWLABEL_MGR, GET, EXCLUSIVE, CREATE, SECONDS = 32, 0, 1, 1, 100
request = socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!I", 0x12345)
request += struct.pack("BBHHHI", GET, EXCLUSIVE, CREATE, SECONDS, SECONDS, 0)
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, request)
"""
PLACE = "import os; os.chmod('/more', 0o777)"

UNDONE = {
    "a fork bomb": ["/programs/storm", "fork"],
    "a fork bomb of orphans": ["/programs/storm", "orphans"],
    "files that come back": ["sh", "-c", STORM],
    "stopped processes": ["sh", "-c", "sleep 1000 & kill -STOP -1; kill -STOP $$"],
    "dead processes": ["sh", "-c", "kill -9 -1"],
}
NOT_UNDONE = {
    "a port that waits": ["python", "-c", PORT],
    "a label that lingers": ["python", "-c", FLOW_LABEL],
    "a place that is another": ["python", "-c", PLACE],
}


@pytest.fixture
def boxes(instance, image):
    """Return a function that gives the containers of the waiting boxes."""
    box = {"image": image, **BOX}
    instance.run("true", box=box)
    return lambda: {
        waiting.container
        for box, boxes in instance.stock.idle.items()
        if box.tmpfs == tuple(BOX["tmpfs"])
        for waiting in boxes
    }


@pytest.mark.parametrize("program", UNDONE)
def test_box_with_everything_undone_is_reused(attack, boxes, program):
    before = boxes()
    attack(*UNDONE[program], box=BOX)
    assert boxes() == before


@pytest.mark.parametrize("program", NOT_UNDONE)
def test_box_with_leftovers_is_not_reused(attack, boxes, program):
    before = boxes()
    execution = attack(*NOT_UNDONE[program], box=BOX, timeout=10)
    assert (execution.ok, execution.stderr) == (True, "")
    assert not boxes() & before
