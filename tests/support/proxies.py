"""Proxies in front of a server, with the configs that the documentation gives."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.documents import DOCS, blocks
from tests.support.server import REPOSITORY, Answer, wait_for

NGINX = """
daemon off;
user root;
error_log stderr;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # as Debian's /etc/nginx/sites-enabled/default
    server {{ listen {port} default_server; return 418; }}
    {site}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
{site}
"""

KINDS = ("nginx", "caddy", "haproxy")
COMMANDS = {
    "nginx": ["nginx", "-p", ".", "-c", "config"],
    "caddy": ["caddy", "run", "--config", "config", "--adapter", "caddyfile"],
    "haproxy": ["haproxy", "-db", "-f", "config"],
}


@contextmanager
def proxy(kind: str, behind: int, directory: Path) -> Iterator[int]:
    """Run a proxy in front of a server's port; return its own."""
    port = free_port()
    (directory / "config").write_text(_config(kind, behind, port))
    variables = {**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)}
    process = subprocess.Popen(COMMANDS[kind], cwd=directory, env=variables)
    try:
        wait_for(lambda: listens(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def request(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request to a proxy, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {"Host": "localhost", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def _config(kind: str, behind: int, port: int) -> str:
    server = {"127.0.0.1:1313": f"127.0.0.1:{behind}"}
    if kind == "nginx":
        listen = {"listen 80": f"listen {port}", "listen [::]:80": f"listen [::]:{port}"}
        site = (REPOSITORY / "deploy/nginx.conf").read_text()
        site = _replaced(site, {**server, **listen, "codapi.example.org": "localhost"})
        return NGINX.format(port=port, site=site)
    (shown,) = blocks((DOCS / "deploy.md").read_text(), kind)
    if kind == "caddy":
        site = _replaced(shown, {**server, "codapi.example.org": f"http://localhost:{port}"})
        return CADDY.format(site=site)
    return _replaced(shown, {**server, "bind :80": f"bind 127.0.0.1:{port}"})


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text
