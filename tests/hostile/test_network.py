"""Programs that try to reach anything outside their box."""

from __future__ import annotations

import secrets
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]


class Outside:
    """Listens on all addresses of the host, and by an abstract name."""

    def __init__(self, stack: ExitStack) -> None:
        tcp = stack.enter_context(socket.create_server(("", 0)))
        self.port = tcp.getsockname()[1]
        udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        udp.bind(("", self.port))
        self.name = f"codapi-test-{secrets.token_hex(8)}"
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(f"\0{self.name}")
        unix.listen()
        self._sockets = tcp, udp, unix

    def is_reached(self) -> bool:
        """Tell whether anything arrived."""
        return bool(select.select(self._sockets, [], [], 0)[0])


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Return something that must not be reached."""
    with ExitStack() as stack:
        yield Outside(stack)


def test_outside_is_reachable_from_the_host(outside):
    socket.create_connection(("127.0.0.1", outside.port)).close()
    assert outside.is_reached()


def test_program_reaches_nothing_outside(attack, outside):
    addresses = subprocess.check_output(["hostname", "-I"], text=True).split()
    argv = ("python", "/programs/reach.py", outside.name, str(outside.port), *addresses)
    execution = attack(*argv, timeout=5)
    assert not outside.is_reached()
    assert (execution.ok, execution.stdout, execution.stderr) == (True, "", "")
