import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from codapi_flask.httpd.socket import SEND_BUFFER, BufferedSocket
from tests.support.server import wait_for


@pytest.fixture
def ends():
    """Return both ends of a connection: the server's and the client's."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), 5) as theirs,
        closing(BufferedSocket(listener.accept()[0])) as ours,
    ):
        yield ours, theirs


def received(theirs, size):
    """Receive `size` bytes at the client's end."""
    data = b""
    while len(data) < size:
        data += theirs.recv(size)
    return data


def test_setblocking_true_has_no_effect(ends):
    ours, _ = ends
    ours.setblocking(True)
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_joined_head_is_sent_together_with_the_body(ends):
    ours, theirs = ends
    with ours.joined():
        ours.sendall(b"head")
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(4)
        theirs.settimeout(5)
        ours.sendall(b"body")
        assert theirs.recv(100) == b"headbody"
        # later data is sent at once
        ours.sendall(b"more")
        assert theirs.recv(100) == b"more"


def test_joined_head_without_a_body_is_sent_at_the_end(ends):
    ours, theirs = ends
    with ours.joined():
        ours.sendall(b"head")
    assert theirs.recv(100) == b"head"


def test_joined_head_is_dropped_when_the_answer_fails(ends):
    ours, theirs = ends
    with suppress(ValueError), ours.joined():
        ours.sendall(b"head")
        raise ValueError
    ours.sendall(b"another answer")
    assert theirs.recv(100) == b"another answer"


def test_unsent_data_is_flushed_as_the_client_reads(ends):
    ours, theirs = ends
    data = bytes(range(256)) * (SEND_BUFFER // 4)
    ours.sendall(data[:-3])
    assert ours.unsent
    ours.sendall(data[-3:])
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(received, theirs, len(data))
        wait_for(lambda: ours.flush() or not ours.unsent)
        assert answer.result(10) == data


def test_flush_to_a_disconnected_client_raises(ends):
    ours, theirs = ends
    ours.sendall(bytes(SEND_BUFFER * 64))
    theirs.close()
    with pytest.raises(ConnectionError):
        wait_for(lambda: ours.flush() or not ours.unsent)
