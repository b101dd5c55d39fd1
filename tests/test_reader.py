import selectors
import socket
from contextlib import closing

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
