"""Startup: the config's location, the listening address, and errors that prevent it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest
from gunicorn.arbiter import Arbiter

from tests.support.configs import BOXES, COMMANDS
from tests.support.server import GUNICORN, REPOSITORY, environment, wait_for

pytestmark = pytest.mark.docker

HELLO = (True, "hello\n")
OF_REPOSITORY = ["--config", str(REPOSITORY / "gunicorn.conf.py")]


def hello(server):
    body = server.exec("sh", "run", "echo hello")[1]
    return body["ok"], body["stdout"]


def test_gunicorn_in_the_repository_serves_its_config(start_server):
    server = start_server(REPOSITORY, CODAPI_ROOT="")
    assert hello(server) == HELLO
    assert server.exec("python", "run", "print(42)")[1]["stdout"] == "42\n"
    assert len(server.pids["worker"]) == 8


@pytest.mark.parametrize(("cwd", "variable"), [("", ""), ("inner", ".."), ("/", "{root}")])
def test_config_is_found_from_any_directory(start_server, root, cwd, variable):
    directory = root(pool_size=1)
    (directory / "inner").mkdir()
    variable = variable.format(root=directory)
    server = start_server(directory, *OF_REPOSITORY, cwd=directory / cwd, CODAPI_ROOT=variable)
    assert hello(server) == HELLO


LAYOUTS = {
    "sandboxes": {
        "codapi.json": {"pool_size": 1},
        "sandboxes/sh/box.json": BOXES["sh"],
        "sandboxes/sh/commands.json": COMMANDS["sh"],
    },
    "boxes": {
        "configs/config.json": {"pool_size": 1},
        "configs/boxes/sh.json": BOXES["sh"],
        "configs/commands/sh.json": COMMANDS["sh"],
    },
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_other_codapi_layout_is_served(start_server, tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    assert hello(start_server(tmp_path)) == HELLO


def test_server_listens_on_localhost_at_the_given_port(start_server, root):
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
    server = start_server(root(pool_size=1), PORT=str(port))
    assert server.port == port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port))


def test_server_listens_on_another_address_if_configured(start_server, root):
    server = start_server(root(pool_size=1), CODAPI_HOST="0.0.0.0")
    socket.create_connection(("127.0.0.2", server.port)).close()


def test_server_listens_on_an_ipv6_address(start_server, root):
    server = start_server(root(pool_size=1), CODAPI_HOST="::")
    socket.create_connection(("::1", server.port)).close()


@pytest.mark.parametrize(
    "locale", ["C", pytest.param("en_US.ISO-8859-1", marks=pytest.mark.locales)]
)
def test_names_of_files_are_utf8_in_any_locale(start_server, root, tmp_path, locale):
    if locale != "C":
        command = ["localedef", "--inputfile=en_US", "--charmap=ISO-8859-1", tmp_path / locale]
        subprocess.run(command, check=True)
    boxes = {**BOXES, "sh": {**BOXES["sh"], "files": ["*.größe"]}}
    directory = root(boxes, pool_size=1).rename(tmp_path / "日本")
    (directory / "ü.größe").write_text("content")
    legacy = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    work_dir = tmp_path / "작업"
    server = start_server(directory, work_dir=work_dir, LOCPATH=str(tmp_path), **legacy)
    files = {"": "cat 日本/€ ü.größe; ls -d [!m]*", "日本/€": "text "}
    status, body = server.exec("sh", "run", files)
    assert (status, body["stdout"]) == (200, "text contentü.größe\n日本\n")


@pytest.mark.parametrize("port", ["99999", "80x", "-1"])
def test_invalid_port_prevents_startup(root, port):
    said = refused_start(root(pool_size=1), PORT=port)
    assert said == f"PORT={port}: must be a number, 0 to 65535\n"


def test_work_dir_of_the_environment_overrides_the_config(start_server, root):
    server = start_server(root(pool_size=1, work_dir="/nowhere"))
    assert [path.name[:2] for path in server.work_dir.glob("*-*")] == ["i-"]
    assert hello(server) == HELLO


def refused_start(root, status=os.EX_CONFIG, **variables):
    """Return the stderr of a server that fails to start with an exit status."""
    done = subprocess.run(
        [GUNICORN],
        cwd=REPOSITORY,
        env=environment(root, **variables),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == status
    return done.stderr


def test_config_problems_prevent_startup_and_are_all_reported(root):
    directory = root(pool_size="8", step={"tiemout": 5})
    (directory / "configs/commands/broken.json").write_text("{")
    said = refused_start(directory, CODAPI_WORK_DIR="var/tmp")
    for problem in (
        "configs/config.json: pool_size: must be a whole number above 0, not '8'",
        "configs/config.json: step.tiemout: unknown key",
        "configs/commands/broken.json: line 1:",
        "environment: work_dir: must be an absolute path",
    ):
        assert problem in said
    assert "Traceback" not in said


def test_directory_without_configs_prevents_startup(tmp_path):
    assert f"{tmp_path}: neither codapi.json nor configs/config.json" in refused_start(tmp_path)


def test_directory_that_cannot_be_read_prevents_startup():
    said = refused_start(Path("/", "a" * 300))
    assert f"/{'a' * 300}/codapi.json: File name too long" in said
    assert "Traceback" not in said


def test_unusable_work_dir_prevents_startup(root, tmp_path):
    (tmp_path / "file").touch()
    said = refused_start(root(pool_size=1), CODAPI_WORK_DIR=f"{tmp_path}/file")
    assert f"work_dir: {tmp_path}/file" in said
    assert "Traceback" not in said


def test_work_dir_unseen_by_the_daemon_prevents_startup(root):
    # a file system that only this process and its children can access
    command = f"mount -t tmpfs none /mnt && exec {GUNICORN}"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        cwd=REPOSITORY,
        env=environment(root(pool_size=1), CODAPI_WORK_DIR="/mnt/work"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == Arbiter.APP_LOAD_ERROR
    assert "the Docker daemon does not see the work directory /mnt/work" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_beyond_dockers_grammar_are_served(start_server, root):
    plain = {"image": "codapi/sh", "init": False}
    boxes = {"c++": {"image": "codapi/sh", "warm": 1}, "c++:1+2": plain, "_x": plain}
    commands = {"run": {"steps": [{"box": "c++", "command": ["echo", ":name"]}]}}
    service = [
        {"box": "_x", "detach": True, "command": ["sleep", "1000"]},
        {"box": ":name", "action": "exec", "command": ["echo", "-n", ":name"]},
    ]
    sandboxes = {"c++": commands, "_x": {"-日本": {"steps": service}}}
    server = start_server(root(boxes, sandboxes, pool_size=1))
    wait_for(lambda: server.metric('codapi_stock{box="c++",state="idle"}') == 1)
    for version, prefix in (("", "c___run_"), ("1+2", "c__.1_2_run_")):
        answer = server.exec("c++", "run", "text", version=version)[1]
        assert (answer["stdout"], answer["stderr"]) == (answer["id"] + "\n", "")
        assert answer["id"].startswith(prefix)
    answer = server.exec("_x", "-日本", "text")[1]
    assert (answer["stdout"], answer["stderr"]) == (answer["id"], "")
    assert answer["id"].startswith("x_x_")
    executions = 'codapi_executions_total{command="run",reason="ok",sandbox="c++"}'
    assert server.metric(executions) == 2
    wait_for(lambda: re.search(r"id=c__\.1_2_run_\w+ ok=true .* box=c\+\+:1\+2$", server.log, re.M))


def test_start_names_the_sandboxes_served_and_what_others_lack(start_server, root):
    boxes = {
        "sh": {"image": "codapi/sh", "files": ["none/*"]},
        "go": {"image": "codapi/none"},
        "net": {"image": "codapi/sh", "network": "codapi-none"},
        "big": {"image": "codapi/sh", "cpu": 1000},
        "other": {"image": "codapi/sh", "runtime": "runnone"},
    }
    commands = {box: {"run": {"steps": [{"box": box, "command": ["true"]}]}} for box in boxes}
    commands["http"] = {"run": {"engine": "http"}}
    server = start_server(root(boxes, commands, pool_size=1))
    wait_for(lambda: "serving 1 of 6 sandboxes: sh\n" in server.log)
    for lack in (
        "without their image, build or pull it: go (codapi/none)\n",
        "without their network, make it with docker network create: net (codapi-none)\n",
        "without their runtime, install it in the daemon: other (runnone)\n",
        "with more cpu than the host has, lower it: big (1000 of ",
        "with files that match nothing, add these or correct the pattern: sh (none/*)\n",
        "that answer each request with `host not allowed`, name hosts in http.hosts: http\n",
    ):
        wait_for(lambda lack=lack: server.log.count(f"WARNING sandboxes {lack}") == 1)
    assert server.exec("sh", "run", "text")[1]["ok"]
    answer = server.exec("http", "run", "GET http://example.com/")[1]
    assert (answer["ok"], answer["stderr"]) == (False, "host not allowed: example.com")


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("DOCKER_CERT_PATH", "/nonexist", "there are no cert.pem, key.pem in /nonexist: put them"),
        ("DOCKER_HOST", "tcp://", "Invalid bind address format: tcp://: it must be like unix:///"),
    ],
)
def test_environment_that_no_docker_client_can_use_prevents_startup(root, variable, value, problem):
    first, second = refused_start(root(pool_size=1), **{variable: value}).splitlines()
    assert first == "the config cannot be used:"
    assert second.startswith(f"  environment: {variable}={value}: {problem}")


class OtherDaemon(ThreadingUnixStreamServer):
    """Answers any call as a daemon of another version does."""

    daemon_threads = True

    def __init__(self, path, newest, oldest):
        super().__init__(path, OtherAnswers)
        said = {"Version": "7.8.9", "ApiVersion": newest, "MinAPIVersion": oldest}
        self.body = json.dumps(said).encode()


class OtherAnswers(BaseHTTPRequestHandler):
    def address_string(self):
        return "a Unix socket"

    def log_message(self, *_):
        """Log nothing."""

    def do_GET(self):
        self.send_response(200 if self.path == "/version" else 400)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)


@pytest.mark.parametrize(
    ("newest", "oldest", "problem"),
    [("1.40", "1.12", "too old: it speaks API 1.40"), ("1.99", "1.90", "too new: it speaks API 1")],
)
def test_daemon_of_an_unknown_version_prevents_startup(root, tmp_path, newest, oldest, problem):
    with OtherDaemon(f"{tmp_path}/socket", newest, oldest) as daemon:
        threading.Thread(target=daemon.serve_forever, args=[0.01]).start()
        said = refused_start(
            root(pool_size=1), Arbiter.APP_LOAD_ERROR, DOCKER_HOST=f"unix://{tmp_path}/socket"
        )
        daemon.shutdown()
    assert "Traceback" not in said
    start = f"the Docker daemon 7.8.9 is {problem}"
    assert any(line.startswith(start) for line in said.splitlines())
