import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from codapi_flask.client import SEND_BUFFER, Client


@pytest.fixture
def ends():
    """Return both ends of a connection: ours, which waits for the other only shortly, and that."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), 5) as theirs,
        closing(Client(listener.accept()[0], timeout=1)) as ours,
    ):
        yield ours, theirs


def received(theirs, size):
    """Return so many bytes that the other end receives."""
    data = b""
    while len(data) < size:
        data += theirs.recv(size)
    return data


def test_nobody_turns_blocking_on(ends):
    ours, _ = ends
    ours.setblocking(True)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_what_is_sent_first_comes_together_with_what_is_sent_next(ends):
    ours, theirs = ends
    with ours.joined():
        ours.sendall(b"head")
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(4)
        theirs.settimeout(5)
        ours.sendall(b"body")
        assert theirs.recv(100) == b"headbody"
        # from then on nothing waits
        ours.sendall(b"more")
        assert theirs.recv(100) == b"more"


def test_a_head_without_a_body_is_sent_at_the_end(ends):
    ours, theirs = ends
    with ours.joined():
        ours.sendall(b"head")
    assert theirs.recv(100) == b"head"


def test_a_head_is_not_sent_when_the_answer_fails(ends):
    ours, theirs = ends
    with suppress(ValueError), ours.joined():
        ours.sendall(b"head")
        raise ValueError
    ours.sendall(b"another answer")
    assert theirs.recv(100) == b"another answer"


def test_what_the_buffer_does_not_hold_is_sent_as_the_client_receives(ends):
    ours, theirs = ends
    data = bytes(range(256)) * (SEND_BUFFER // 4)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(received, theirs, len(data))
        ours.sendall(data)
        assert answer.result(10) == data
    # and does not block afterwards
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_who_does_not_receive_is_gone(ends):
    ours, _ = ends
    with pytest.raises(BrokenPipeError, match="does not receive"):
        ours.sendall(bytes(SEND_BUFFER * 64))
