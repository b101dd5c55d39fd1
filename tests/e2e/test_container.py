"""The server itself in a container, as in docs/deploy.md."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.configs import COMMANDS
from tests.support.server import REPOSITORY, wait_for

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(os.getuid() != 0, reason="only root can give another user a directory"),
]

IMAGE, SOCKET = "codapi/server", "/var/run/docker.sock"
GROUP = str(os.stat(SOCKET).st_gid) if os.path.exists(SOCKET) else ""
BOXES = {"sh": {"image": "codapi/sh"}, "mine": {"image": "codapi/sh", "volume": "%s:/sandbox"}}
MINE = {"entry": "main.sh", "steps": [{"box": "mine", "command": ["sh", "main.sh"]}]}


def docker(*arguments: str) -> str:
    return subprocess.check_output(["docker", *arguments], text=True, stderr=subprocess.STDOUT)


def boxes(work_dir: Path) -> list[str]:
    form = '{{.Label "codapi.instance"}}'
    instances = docker("ps", "--all", "--filter=label=codapi.instance", f"--format={form}")
    return [path for path in instances.splitlines() if path.startswith(f"{work_dir}/")]


def execute(url: str, sandbox: str, text: str) -> dict:
    document = {"sandbox": sandbox, "command": "run", "files": {"": text}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/exec", json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    """Build the image, and keep it for the next test run."""
    docker("build", "--tag", IMAGE, str(REPOSITORY))


@pytest.fixture
def work_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="codapi-test-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run(root, work_dir) -> Iterator[Callable[..., str]]:
    """Return a function that runs the server as a user, and returns its container."""
    containers = []

    def run(user: int, *arguments: str) -> str:
        config = root(BOXES, {"sh": COMMANDS["sh"], "mine": {"run": MINE}}, pool_size=2)
        subprocess.run(["chmod", "-R", "a+rX", config], check=True)
        os.chown(work_dir, user, user)
        arguments = (
            *("--user", f"{user}:{user}", "--group-add", GROUP),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--volume", f"{SOCKET}:{SOCKET}"),
            *("--volume", f"{config}/configs:/codapi/configs:ro"),
            *("--publish", "127.0.0.1::1313"),
            *arguments,
        )
        containers.append(docker("run", "--detach", *arguments, IMAGE).strip())
        return containers[-1]

    yield run
    for container in containers:
        print(docker("logs", container))
        docker("rm", "--force", "--volumes", container)


# 1000 is the boxes' user
@pytest.mark.parametrize("user", [2000, 1000])
def test_server_in_a_container_runs_as_any_user(run, work_dir, user):
    mounted = ("--volume", f"{work_dir}:{work_dir}", "--env", f"CODAPI_WORK_DIR={work_dir}")
    container = run(user, *mounted)
    url = f"http://{docker('port', container, '1313').split()[0]}"
    wait_for(lambda: is_up(url), 30)
    assert execute(url, "sh", "cat main.sh")["stdout"] == "cat main.sh"
    # only the boxes' user or root can remove this directory
    assert execute(url, "mine", "mkdir -m 700 mine; touch mine/file; id -u")["stdout"] == "1000\n"
    # unlike rglob, walk bears directories that vanish
    wait_for(lambda: not any("file" in names for _, _, names in os.walk(work_dir)))
    docker("stop", "--time", "60", container)
    assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0\n"
    wait_for(lambda: not boxes(work_dir) and not list(work_dir.glob("i-*")))


@pytest.mark.parametrize("volume", [[], ["--volume", "{}:/elsewhere"]])
def test_work_dir_unseen_by_the_daemon_prevents_startup(run, work_dir, volume):
    inside = Path("/elsewhere" if volume else work_dir)
    volume = [argument.format(work_dir) for argument in volume]
    container = run(2000, *volume, "--env", f"CODAPI_WORK_DIR={inside}")
    assert docker("wait", container) != "0\n"
    log = docker("logs", container)
    assert f"the Docker daemon does not see the work directory {inside}" in log
    assert f"--volume {inside}:{inside}" in log


@pytest.mark.compose
def test_compose_runs_the_server():
    user = 54321
    work_dir = Path(f"/var/tmp/codapi-{user}")
    work_dir.mkdir(mode=0o700)
    os.chown(work_dir, user, user)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {"CODAPI_UID": str(user), "DOCKER_GID": GROUP, "PORT": str(port)}
    compose = ["docker-compose", "--project-name", "codapi-test"]
    options = {"cwd": REPOSITORY, "env": {**os.environ, **variables}, "check": True}
    try:
        subprocess.run([*compose, "up", "--detach", "--no-build"], **options)
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_up(url), 30)
        assert execute(url, "python", "print(42)")["stdout"] == "42\n"
    finally:
        subprocess.run([*compose, "logs"], **options)
        subprocess.run([*compose, "down", "--volumes"], **options)
        shutil.rmtree(work_dir)
