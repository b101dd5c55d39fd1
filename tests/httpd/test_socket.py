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
        socket.create_connection(listener.getsockname(), 5) as peer,
        closing(BufferedSocket(listener.accept()[0])) as own,
    ):
        yield own, peer


def received(peer, size):
    """Receive `size` bytes at the client's end."""
    data = b""
    while len(data) < size:
        data += peer.recv(size)
    return data


def test_setblocking_true_has_no_effect(ends):
    own, _ = ends
    own.setblocking(True)
    with pytest.raises(BlockingIOError):
        own.recv(1)


def test_joined_head_is_sent_together_with_the_body(ends):
    own, peer = ends
    with own.joined():
        own.sendall(b"head")
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(4)
        peer.settimeout(5)
        own.sendall(b"body")
        assert peer.recv(100) == b"headbody"
        # later data is sent at once
        own.sendall(b"more")
        assert peer.recv(100) == b"more"


def test_joined_head_without_a_body_is_sent_at_the_end(ends):
    own, peer = ends
    with own.joined():
        own.sendall(b"head")
    assert peer.recv(100) == b"head"


def test_joined_head_is_dropped_when_the_answer_fails(ends):
    own, peer = ends
    with suppress(ValueError), own.joined():
        own.sendall(b"head")
        raise ValueError
    own.sendall(b"another answer")
    assert peer.recv(100) == b"another answer"


def test_unsent_data_is_flushed_as_the_client_reads(ends):
    own, peer = ends
    data = bytes(range(256)) * (SEND_BUFFER // 4)
    own.sendall(data[:-3])
    assert own.unsent
    own.sendall(data[-3:])
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(received, peer, len(data))
        wait_for(lambda: own.flush() or not own.unsent)
        assert answer.result(10) == data


def test_flush_to_a_disconnected_client_raises(ends):
    own, peer = ends
    own.sendall(bytes(SEND_BUFFER * 64))
    peer.close()
    with pytest.raises(ConnectionError):
        wait_for(lambda: own.flush() or not own.unsent)
