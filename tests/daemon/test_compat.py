"""What is used of the inside of docker-py and urllib3: a release that lacks it fails here."""

import socketserver
import threading
from contextlib import closing

import pytest

from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon import attach
from codapi_flask.daemon.client import Client
from codapi_flask.daemon.compat import DOCKER, URLLIB3
from codapi_flask.program import Program
from tests.support.server import wait_for

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"ApiVersion":"1.41"}'
HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
FRAME = b"\1\0\0\0\0\0\0\6hello\n"


@pytest.mark.parametrize("inside", [DOCKER, URLLIB3], ids=lambda inside: inside.name)
def test_installed_release_has_every_name_of_the_table(inside):
    assert inside.problems() == []


class FakeDaemon(socketserver.ThreadingUnixStreamServer):
    """Answers any call with a version, an attach with a stream and its end."""

    daemon_threads = True

    def __init__(self, path):
        super().__init__(path, Answers)
        self.connections = 0


class Answers(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.connections += 1
        while request := self.request.recv(1 << 16):
            if b"attach" in request:
                self.request.sendall(HEAD + FRAME)
                return
            self.request.sendall(PLAIN)


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Return what answers as a daemon at the address that the environment names."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/socket")
    with FakeDaemon(f"{tmp_path}/socket") as daemon:
        thread = threading.Thread(target=daemon.serve_forever, args=[0.01])
        thread.start()
        yield daemon
        daemon.shutdown()
        thread.join()


def test_calls_and_a_stream_share_one_connection_of_a_unix_socket(daemon):
    with Client(Timeouts()).calls("test") as api, closing(api):
        # docker-py's own adapter has asked for the version
        assert daemon.connections == 1
        api.ping()
        api.inspect_container("1")
        with closing(
            attach.upgrade(api, "containers/1/attach", Program(["true"], "", noutput=100))
        ) as stream:
            wait_for(lambda: not stream.read(), 5)
    assert stream.stdout.text() == "hello\n"
    assert daemon.connections == 2
