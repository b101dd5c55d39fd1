"""Programs that attack programs of other boxes and of later runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from codapi_flask.boxes.lease import NO_STEP
from codapi_flask.daemon.cgroup import Sockets, sockets
from codapi_flask.program import Program
from codapi_flask.streams import Cancel
from tests.support.instance import PYTHON

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

REUSED = pytest.mark.parametrize("kind", ["reused"])
WRITABLE = {"volume": "%s:/sandbox", "uses": 1}
LOOK = """
import os
info = os.stat("/sandbox")
print(oct(info.st_mode), info.st_uid, os.listxattr("/sandbox"), os.listdir("/dev/shm"))
"""
HELPER = """
import os, socket, time
server = socket.socket(socket.AF_UNIX)
server.bind("/sandbox/s")
os.chmod("/sandbox/s", 0o777)
server.listen()
client = server.accept()[0]
_, (place, life), _, _ = socket.recv_fds(client, 1, 2)
client.sendall(b"k")
client.close()
os.read(life, 1)  # the end of file: the other box's program is dead
for _ in range(1000):
    name = os.open("json.py", os.O_CREAT | os.O_WRONLY, 0o777, dir_fd=place)
    os.write(name, b"print('planted')")
    os.close(name)
    time.sleep(0.001)
"""
ACCOMPLICE = """
import os, socket, time
client = socket.socket(socket.AF_UNIX)
while True:
    try:
        client.connect("/sandbox/s")
        break
    except OSError:
        time.sleep(0.01)
place = os.open("/dev/shm", os.O_RDONLY | os.O_DIRECTORY)
life, mine = os.pipe()
socket.send_fds(client, [b"x"], [place, life])
os.close(life)
client.recv(1)
"""
MARKS = {
    "an attribute": "import os; os.setxattr('/sandbox', 'user.left', bytes(600))",
    "a mode": "import os; os.chmod('/sandbox', 0o700)",
    "a time": "import os; os.utime('/sandbox', ns=(1, 2))",
}
FLOOD = "import pathlib\nfor n in range(4000): pathlib.Path(f'/sandbox/{n:05}' * 25).touch()"
OPEN_TERMINALS = """
import os
for path in ("/dev/ptmx", "/dev/pts/ptmx", "/dev/tty"):
    try:
        print("open", os.open(path, os.O_RDWR))
    except OSError as error:
        print(error.strerror)
"""


@pytest.fixture
def waiting(instance):
    """Return a function that gives the containers of the waiting boxes of a name."""
    return lambda name: {
        waiting.container
        for box, boxes in instance.stock.idle.items()
        if box.name == name
        for waiting in boxes
    }


@REUSED
@pytest.mark.parametrize("attempt", range(3))
def test_detached_helper_plants_nothing_in_a_reused_box(execute, run, waiting, attempt):
    boxes = {"victim": PYTHON, "helper": {**PYTHON, **WRITABLE}}
    before = {"box": "helper", "detach": True, "command": ["python", "helper.py"]}
    step = {"box": "victim", "command": ["python", "main.py"]}
    files = {"": ACCOMPLICE, "helper.py": HELPER}
    served = waiting("victim")
    execution = execute(step, before=before, boxes=boxes, files=files, entry="main.py")
    assert (execution.ok, execution.stderr) == (True, "")
    assert waiting("victim") <= served
    look = {"box": "victim", "command": ["python", "-c", LOOK]}
    assert execute(look, boxes={"victim": PYTHON}).stdout.endswith("[] []\n")


@REUSED
def test_box_beside_a_detached_one_is_reused_after_a_reset(execute, waiting):
    boxes = {"box": {}, "helper": {"uses": 1, "volume": "%s:/sandbox:ro"}}
    before = {"box": "helper", "detach": True, "command": ["sleep", "1000"]}
    step = {"box": "box", "command": ["true"]}
    assert execute(step, before=before, boxes=boxes).ok
    served = waiting("box")
    assert execute(step, before=before, boxes=boxes).ok
    assert served & waiting("box")


@REUSED
@pytest.mark.parametrize("was_alone", [True, False])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees into a box from the host")
def test_reset_is_skipped_only_for_a_box_that_was_alone(instance, was_alone):
    """Another box may plant a file after the program's end; here the host does so."""
    instance.run("true", box={"nproc": 63})
    [box] = [box for box, boxes in instance.stock.idle.items() if box.nproc == 63 and boxes]
    started = instance.stock.idle[box].pop()
    try:
        assert started.run(Program(["true"], "sandbox"), Cancel()).ok
        info = instance.daemon.find(started.container).inspect()
        planted = Path(f"/proc/{info['State']['Pid']}/root/dev/shm/json.py")
        planted.write_text("print('code of another client')")
        os.chown(planted, 1000, 1000)
        assert started.reset(30, was_alone)
        assert planted.exists() is was_alone
    finally:
        started.discard()


@REUSED
@pytest.mark.parametrize("user", ["sandbox", "root"])
@pytest.mark.parametrize("mark", MARKS)
def test_directory_that_was_writable_is_not_reused(execute, waiting, mark, user):
    boxes = {"compile": {**PYTHON, **WRITABLE}, "box": PYTHON}
    compile = {"box": "compile", "command": ["python", "-c", MARKS[mark]], "user": user}
    step = {"box": "box", "command": ["true"]}
    served = waiting("box")
    execute(compile, step, boxes=boxes)
    assert waiting("box") <= served
    look = {"box": "box", "command": ["python", "-c", LOOK]}
    mode, owner, attributes, names = execute(look, boxes={"box": PYTHON}).stdout.split()
    assert (mode, owner, attributes, names) == ("0o40777", str(os.geteuid()), "[]", "[]")


@REUSED
def test_directory_that_held_many_names_is_not_reused(execute, waiting):
    boxes, step = {"files": {}}, {"box": "files", "command": ["true"]}
    few, many = ({f"{n:05}" * 25: "x" for n in range(count)} for count in (2, 4000))
    execute(step, boxes=boxes, files=few, entry="main")
    served = waiting("files")
    assert len(served) == 1
    execute(step, boxes=boxes, files=many, entry="main")
    assert not waiting("files")


@pytest.mark.parametrize("user", ["sandbox", "root"])
@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_box_shares_no_file_of_the_host_with_others(instance, user):
    """All that is mounted from the disk belongs to the execution, or to the container."""
    mounts = instance.run("cat", "/proc/self/mountinfo", user=user, noutput=1 << 16).stdout
    disk = os.stat(instance.path).st_dev
    device = f"{os.major(disk)}:{os.minor(disk)}"
    roots = {line.split()[3] for line in mounts.splitlines() if line.split()[2] == device}
    assert len(roots) >= 2
    own = f"{instance.path}/x-", "/containers/"
    assert all(any(part in root for part in own) for root in roots), roots
    assert "docker-init" not in mounts


@pytest.mark.parametrize("kind", ["warm"])
def test_hosts_file_belongs_to_a_user_that_no_step_has(instance):
    assert instance.run("sh", "-c", "stat -c %u /etc/hosts").stdout == f"{NO_STEP}\n"
    assert instance.run("cat", "/etc/hosts").stdout.startswith("127.0.0.1\tlocalhost\n")


@pytest.mark.parametrize("user", ["sandbox", "root"])
def test_box_has_no_terminals(attack, kind, user):
    """Terminals are counted host-wide, and a line discipline may load a kernel module."""
    if kind in ("reused", "preloaded") and user == "root":
        pytest.skip("such boxes are refused")
    execution = attack("python", "-c", OPEN_TERMINALS, user=user, timeout=5)
    assert execution.ok
    assert "open" not in execution.stdout


def test_box_has_its_own_bounds_for_per_user_resources(attack):
    script = "cat /proc/sys/fs/mqueue/queues_max; ulimit -l"
    assert attack("sh", "-c", script).stdout == "2\n64\n"


FILL_UDP = """
import os, socket, time
for _ in range(40):
    if os.fork() == 0:
        kept, sender = [], socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setblocking(False)
        try:
            while True:
                kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                kept[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
                kept[-1].bind(("127.0.0.1", 0))
                for _ in range(40):
                    sender.sendto(bytes(9000), kept[-1].getsockname())
        except OSError:
            time.sleep(1000)
time.sleep(2)
print(open("/proc/net/sockstat").read())
"""
FILL_TCP = """
import os, socket, time
for _ in range(40):
    if os.fork() == 0:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        server.bind(("127.0.0.1", 0))
        server.listen()
        kept = []
        try:
            while True:
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
                client.connect(server.getsockname())
                client.setblocking(False)
                kept += client, server.accept()[0]
                try:
                    while True:
                        client.send(bytes(1000))
                except BlockingIOError:
                    pass
        except OSError:
            time.sleep(1000)
time.sleep(2)
print(open("/proc/net/sockstat").read())
"""


@pytest.mark.skipif(sockets() is not Sockets.SERVER, reason="sockets count as memory, or are none")
@pytest.mark.parametrize(("program", "protocol"), [(FILL_UDP, "UDP:"), (FILL_TCP, "TCP:")])
def test_sockets_stay_within_the_memory_limit(attack, program, protocol):
    execution = attack("python", "-c", program, timeout=10)
    assert execution.ok, execution.stderr
    [line] = [line for line in execution.stdout.splitlines() if line.startswith(protocol)]
    # of all the host, in pages
    assert 1 << 20 < int(line.split()[-1]) * 4096 < 64 << 20


UNCOUNTED = """
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for attempt in (
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    lambda: udp.sendto(b"x", socket.MSG_MORE, ("127.0.0.1", 9)),
    lambda: udp.sendmsg([b"x"], [], socket.MSG_MORE, ("127.0.0.1", 9)),
    lambda: udp.setsockopt(socket.IPPROTO_UDP, 1, 1),
):
    try:
        print("done", attempt())
    except PermissionError as error:
        print(error.strerror)
"""


def test_box_without_network_has_no_uncounted_buffers(attack):
    """Netlink's answers, and UDP data held back for MSG_MORE and UDP_CORK."""
    execution = attack("python", "-c", UNCOUNTED, timeout=5)
    assert execution.stdout == "Operation not permitted\n" * 4


@pytest.mark.skipif(sockets() is Sockets.KERNEL, reason="sockets count as memory")
@pytest.mark.parametrize("uid", [2000])
@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_box_whose_sockets_cannot_be_bounded_has_none(instance, kind):
    script = "import socket\nsocket.socketpair()\nsocket.socket(socket.{})"
    for family in ("AF_INET", "AF_INET6"):
        execution = instance.run("python", "-c", script.format(family), box=PYTHON)
        assert execution.stderr.endswith(
            "PermissionError: [Errno 1] Operation not permitted (exit status 1)"
        )


def test_socket_limit_holds_before_the_program_starts(instance):
    if not Path("/sys/fs/cgroup/memory").exists():
        pytest.skip("version 2 of cgroups")
    limit = "/sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes"
    assert instance.run("cat", limit).stdout == f"{16 << 20}\n"
