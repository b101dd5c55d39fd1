import selectors
import socket
from contextlib import ExitStack, closing

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from codapi_flask.reader import ReadingWorker

HEAD = b"POST /v1/exec HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n"


class SmallWorker(ReadingWorker):
    incoming_max = 80_000


@pytest.fixture
def worker():
    """Return a worker of which only the event loop is there."""
    config = Config()
    worker = SmallWorker(0, 0, [], None, 30, config, Logger(config))
    worker.poller = selectors.DefaultSelector()
    yield worker
    worker.poller.close()
    worker.tmp.close()


@pytest.fixture
def connect(worker):
    """Return a function that connects a client, whose end it returns."""
    clients = []

    def connect():
        ours, theirs = socket.socketpair()
        clients.append(theirs)
        worker.nr_conns += 1
        worker.enqueue_req(TConn(worker.cfg, ours, ("a", 1), ("b", 2)))
        theirs.settimeout(5)
        return theirs

    yield connect
    for client in clients:
        client.close()


def test_who_is_refused_to_make_room_may_have_sent_at_the_same_time(worker, connect):
    oldest, newest = connect(), connect()
    newest.sendall(HEAD + bytes(140_000))
    oldest.sendall(HEAD)
    # both are ready, the newest is looked at first
    worker.wait_for_and_dispatch_events(0)
    with closing(oldest.makefile("rb")) as answer:
        assert answer.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
    oldest.close()
    newest.close()
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)


@pytest.mark.parametrize("room", [3, 100])
def test_all_who_wait_are_accepted_at_once_if_there_is_room(worker, room):
    worker.worker_connections = room
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        listener.setblocking(False)
        for _ in range(20):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        worker.accept(listener)
        assert worker.nr_conns == min(20, room)
        for conn in list(worker._incoming):
            worker._drop(conn)


def test_who_sends_half_a_request_and_no_more_is_told(worker, connect):
    client = connect()
    client.sendall(HEAD)
    client.shutdown(socket.SHUT_WR)
    worker.wait_for_and_dispatch_events(1)
    with closing(client.makefile("rb")) as answer:
        assert answer.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    client.close()
    while worker.nr_conns:
        worker.wait_for_and_dispatch_events(1)
