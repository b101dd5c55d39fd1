import selectors
import socket
import weakref
from contextlib import ExitStack, closing
from http import HTTPStatus

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from codapi_flask.httpd import reading
from codapi_flask.httpd.worker import BufferingWorker

HEAD = b"POST /v1/exec HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"


class Unlimited:
    """An edge that accepts every request."""

    max_body, read_timeout, send_timeout = 1 << 20, 10.0, 10.0

    def shed(self, head, body):
        return None

    def error(self, status, origin="", text=""):
        return b"HTTP/1.1 %d %s\r\n\r\n" % (status, HTTPStatus(status).phrase.encode())


@pytest.fixture
def worker(monkeypatch):
    """Return a worker that has only its event loop."""
    config = Config()
    monkeypatch.setattr(reading, "SIZE_MAX", 80_000)
    worker = BufferingWorker(0, 0, [], None, 30, config, Logger(config))
    worker.poller, worker.edge = selectors.DefaultSelector(), Unlimited()
    yield worker
    worker.poller.close()
    worker.tmp.close()


@pytest.fixture
def connect(worker):
    """Return a function that connects a client and returns the client's end."""
    clients = []

    def connect():
        own, peer = socket.socketpair()
        clients.append(peer)
        worker.nr_conns += 1
        worker.enqueue_req(TConn(worker.cfg, own, ("a", 1), ("b", 2)))
        peer.settimeout(5)
        return peer

    yield connect
    for client in clients:
        client.close()


def test_client_evicted_while_it_sends_reads_503(worker, connect):
    oldest, newest = connect(), connect()
    newest.sendall(HEAD + bytes(140_000))
    oldest.sendall(HEAD)
    # both are ready; the newest is handled first
    worker.wait_for_and_dispatch_events(0)
    with closing(oldest.makefile("rb")) as answer:
        assert answer.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
    oldest.close()
    newest.close()
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)


@pytest.mark.parametrize("room", [3, 100])
def test_worker_accepts_all_pending_connections_up_to_its_limit(worker, room):
    worker.worker_connections = room
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        listener.setblocking(False)
        for _ in range(20):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        worker.accept(listener)
        assert worker.nr_conns == min(20, room)
    # the clients have disconnected
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)


def test_kept_connection_holds_nothing_of_its_last_request(worker, connect):
    class Registered:
        def depart(self):
            """Do nothing."""

    client = connect()
    [conn] = worker._reading._buffers
    registered = Registered()
    found = weakref.ref(registered)
    worker._departures.watch(conn)
    conn.sock.on_departure(registered.depart)
    worker._departures.forget(conn)
    del registered
    assert found() is None
    client.close()
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)


def test_client_closing_after_half_a_request_reads_400(worker, connect):
    client = connect()
    client.sendall(HEAD)
    client.shutdown(socket.SHUT_WR)
    worker.wait_for_and_dispatch_events(1)
    with closing(client.makefile("rb")) as answer:
        assert answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    client.close()
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)
