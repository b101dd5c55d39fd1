"""The limits that a box's config sets for programs, and the image's own settings."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from codapi_flask.daemon.hostconfig import NO_TERMINALS
from tests.support.instance import PYTHON, docker
from tests.support.programs import Sleep
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

# a writable box, or one in which root runs, cannot be reused
FRESH_KINDS = pytest.mark.parametrize("kind", ["plain", "cold", "warm"])
MIB = 1 << 20
LIMITED: dict[str, Any] = {
    "cpu": 0.25,
    "memory": 48,
    "nproc": 10,
    "ulimit": ["nofile=50:60", "core=0"],
    "tmpfs": ["/scratch:size=4m,mode=1777", "/other"],
}

SPIN = """
import time
start = time.monotonic()
while time.monotonic() - start < 1:
    pass
print(time.process_time() < 0.5)
"""
FORK = """
import os, time
count = 1
try:
    while os.fork():
        count += 1
    time.sleep(1000)
except BlockingIOError:
    print(count)
"""
OPEN = """
import resource
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
files = []
try:
    while True:
        files.append(open("/dev/null"))
except OSError:
    print(files[-1].fileno() + 1)
"""
FILL = """
import os
file = os.open("/scratch/file", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(file, bytes(65536))
except OSError as error:
    print(error.strerror, os.fstat(file).st_size)
"""
WRITE = """
for path in ("/tmp/file", "/sandbox/file", "/file"):
    try:
        print(open(path, "w").write("text"))
    except OSError as error:
        print(error.strerror)
"""
CONNECT = """
import socket
names = [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]]
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
# in the order of the family, as node connects
family, _, _, _, address = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)[0]
socket.socket(family).connect(address)
print(names, {a[4][0] for a in socket.getaddrinfo("localhost", 80)})
print(open("/proc/sys/net/ipv6/conf/all/disable_ipv6").read(), end="")
print(open("/etc/hosts").read(), end="")
for host in ("169.254.169.254", "172.17.0.1", "8.8.8.8"):
    try:
        socket.create_connection((host, 80), 5)
    except OSError as error:
        print(error.strerror)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        pytest.param(SPIN, "True\n", id="cpu"),
        pytest.param(FORK, "10\n", id="nproc"),
        pytest.param(OPEN, "50 60\n50\n", id="ulimit"),
        pytest.param(FILL, f"No space left on device {4 * MIB}\n", id="tmpfs"),
        pytest.param("print(len(bytearray(24 << 20)))", f"{24 * MIB}\n", id="memory"),
        pytest.param(WRITE, "Read-only file system\n" * 3, id="read-only"),
        pytest.param(
            CONNECT,
            "['lo'] {'127.0.0.1'}\n1\n127.0.0.1\tlocalhost\n" + "Network is unreachable\n" * 3,
            id="network",
        ),
    ],
)
def test_box_limit_holds(run, program, printed):
    execution = run("python", "-c", program, box={**PYTHON, **LIMITED})
    assert (execution.ok, execution.stdout) == (True, printed)


@pytest.mark.parametrize(
    ("tmpfs", "ok"),
    [("/t", False), ("/t:size=4m", False), ("/t:exec", True), ("/t:exec,size=4m", True)],
)
@pytest.mark.parametrize("kind", ["warm"])
def test_tmpfs_is_noexec_unless_it_has_exec(run, tmpfs, ok):
    execution = run("sh", "-c", "cp /bin/true /t && /t/true", box={"tmpfs": [tmpfs]})
    assert execution.ok is ok
    assert ok or "Permission denied" in execution.stderr


def test_memory_over_the_limit_is_reported(run):
    execution = run("python", "-c", "bytearray(64 << 20)", box={**PYTHON, **LIMITED})
    assert execution.stderr == "out of memory (48 MiB)\nexit status 137"


@FRESH_KINDS
def test_box_limits_match_docker_inspect(instance, kind):
    sleep = Sleep(1000)
    argv = ("sleep", sleep.argument)
    box = {**LIMITED, "cap_add": ["net_raw"], "cap_drop": ["all"]}
    result = instance.start(instance.run, *argv, box=box, timeout=60)
    wait_for(sleep.runs)
    [container] = instance.containers()
    inspected = json.loads(docker("inspect", container))[0]
    instance.hang_up()
    result.exception(10)
    limits = inspected["HostConfig"]
    assert {name: limits[name] for name in SHOWN} == SHOWN
    assert {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in limits["Ulimits"]} == {
        "nofile": (50, 60),
        "core": (0, 0),
        "memlock": (65536, 65536),
    }
    assert {name.upper() for name in limits["CapDrop"]} == {"ALL"}
    own = set() if kind == "plain" else {"KILL", "SETGID", "SETPCAP", "SETUID"}
    assert {name.upper() for name in limits["CapAdd"]} == {"NET_RAW", *own}
    assert limits["SecurityOpt"][0] == "no-new-privileges"
    # one more than nproc, for process 1
    assert limits["PidsLimit"] == 11
    assert not limits.get("Init")
    assert [mount["RW"] for mount in inspected["Mounts"]] == [False] * len(inspected["Mounts"])


SHOWN = {
    "Runtime": "runc",
    "NanoCpus": 250_000_000,
    "Memory": 48 * MIB,
    "MemorySwap": 48 * MIB,
    "NetworkMode": "none",
    "ReadonlyRootfs": True,
    "Privileged": False,
    "Tmpfs": {"/scratch": "size=4m,mode=1777", "/other": "", **NO_TERMINALS},
    "Sysctls": {"fs.mqueue.queues_max": "2", "net.ipv6.conf.all.disable_ipv6": "1"},
    "LogConfig": {"Type": "none", "Config": {}},
    "PidMode": "",
    "IpcMode": "private",
    "Devices": None,
}


@FRESH_KINDS
def test_writable_box_accepts_writes_and_starts_clean(run):
    for _ in range(2):
        box = {**PYTHON, "writable": True, "volume": "%s:/sandbox"}
        program = "import os; print(os.path.exists('/tmp/file'))" + WRITE
        execution = run("python", "-c", program, box=box)
        assert execution.stdout == "False\n4\n4\nPermission denied\n"


@pytest.mark.parametrize(
    ("user", "box", "capabilities"),
    [
        ("sandbox", {}, 0),
        ("root", {}, 0),
        ("root", {"cap_add": ["net_raw"]}, 1 << 13),
        ("root", {"cap_drop": ["chown"], "cap_add": []}, 0xA80425FB & ~1),
    ],
)
@FRESH_KINDS
def test_program_has_the_capabilities_of_the_config(run, user, box, capabilities):
    status = run("cat", "/proc/self/status", user=user, box=box).stdout
    found = dict(re.findall(r"(\w+):\t(\w+)", status))
    sets = {name: int(found[f"Cap{name}"], 16) for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    own = capabilities if user == "root" else 0
    assert sets.pop("Inh") in (0, capabilities)  # Docker before 20.10.14: as the bounding set
    assert sets == {"Prm": own, "Eff": own, "Bnd": capabilities, "Amb": 0}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_program_sees_nothing_of_the_servers_environment(run, monkeypatch):
    monkeypatch.setenv("CODAPI_SECRET", "secret")
    execution = run("env")
    variables = dict(line.split("=", 1) for line in execution.stdout.splitlines())
    assert variables.keys() == {"PATH", "HOSTNAME", "HOME", "LANG"}
    assert variables["LANG"] == "C.UTF-8"
    assert (variables["HOME"], len(variables["HOSTNAME"])) == ("/sandbox", 12)


IMAGE = """
FROM codapi/sh
ENV GREETING="hello world" HOME=/nowhere
WORKDIR /var
USER root
ENTRYPOINT ["sh", "-c"]
CMD ["echo $GREETING $HOME $PWD $0; id; umask"]
"""


def test_empty_home_of_an_image_is_replaced_by_the_users(run, image):
    id = image("FROM codapi/sh\nENV HOME=\n")
    assert run("sh", "-c", "echo $HOME", box={"image": id}).stdout == "/sandbox\n"


@pytest.mark.parametrize("argv", [(), ("echo $GREETING $HOME $PWD $0; id; umask; ulimit -a", "x")])
@pytest.mark.parametrize("user", ["sandbox", "1234:5678", "games:root"])
def test_image_settings_hold_as_in_docker_run(run, image, argv, user):
    id = image(IMAGE)
    options = [f"--user={user}", "--ulimit=nofile=96", "--ulimit=core=1", "--ulimit=memlock=65536"]
    options += ["--cap-drop=all", "--network=none"]
    plain = docker("run", "--rm", *options, id, *argv)
    execution = run(*argv, user=user, box={"image": id})
    assert (execution.ok, execution.stdout.strip()) == (True, plain)
