import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests

from codapi_flask.daemon import attach
from codapi_flask.program import Program
from tests.support.server import wait_for

HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
FRAME = b"\1\0\0\0\0\0\0\6hello\n"


class Api(requests.Session):
    """As much of docker-py's client as a call needs."""

    api_version, timeout = "1.41", 5

    def __init__(self, port, certificate):
        super().__init__()
        self.base_url = f"https://localhost:{port}"
        self.trust_env, self.verify = False, certificate


@pytest.fixture
def certificate(tmp_path):
    """Return the file with a certificate for localhost and its key."""
    file = str(tmp_path / "certificate.pem")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", file, "-out", f"{file}.crt"]
    subprocess.run(argv, check=True, capture_output=True)
    with open(file, "a") as both, open(f"{file}.crt") as public:
        both.write(public.read())
    return file


@pytest.mark.parametrize("pause", [0, 0.2], ids=["with the head", "later"])
def test_upgrade_over_tls_returns_a_stream(certificate, pause):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(listener):
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(1 << 16)
            connection.sendall(HEAD)
            time.sleep(pause)
            connection.sendall(FRAME)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with Api(listener.getsockname()[1], certificate) as api:
            stream = attach.upgrade(api, "containers/1/attach", Program(["true"], "", noutput=100))
            wait_for(lambda: not stream.read(), 5)
            stream.close()
        thread.join()
    assert stream.stdout.text() == "hello\n"
