"""A reset removes a program's leftovers, or fails, so that the box is discarded."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable

import pytest

from codapi_flask.init import Stage
from tests.support.initbox import Box
from tests.support.server import PATIENCE

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

LOOK = """
import os
for place in ("/tmp", "/dev/shm", "/dev/mqueue", "/more"):
    stat = os.stat(place)
    print(place, os.listdir(place), oct(stat.st_mode), stat.st_uid, os.listxattr(place))
    usage = os.statvfs(place)
    print(usage.f_blocks - usage.f_bfree, usage.f_files - usage.f_ffree)
for name in ("shm", "msg", "sem"):
    print(open("/proc/sysvipc/" + name).readlines()[1:])
print([pid for pid in os.listdir("/proc") if pid.isdigit()].__len__())
for name in ("tcp", "tcp6", "udp", "udp6", "raw", "packet"):
    print(open("/proc/net/" + name).readlines()[1:])
print(len(open("/proc/net/unix").readlines()))
"""

HOSTILE = {
    "plain files": """
        for place in PLACES:
            open(place + "/file", "w").write("secret")
            os.makedirs(place + "/a/b/c")
        """,
    "no rights": """
        for place in PLACES:
            os.makedirs(place + "/a/b/c")
            open(place + "/a/b/c/file", "w").close()
            for path in ("/a/b/c/file", "/a/b/c", "/a/b", "/a"):
                os.chmod(place + path, 0)
        """,
    "special files": """
        for place in PLACES:
            os.mkfifo(place + "/fifo")
            os.symlink("/etc", place + "/link")
            os.symlink("nowhere", place + "/dangling")
            os.symlink(place, place + "/loop")
            socket.socket(socket.AF_UNIX).bind(place + "/socket")
            open(place + "/setuid", "w").close()
            os.chmod(place + "/setuid", 0o6777)
            os.mkdir(place + "/sticky", 0o7000)
        """,
    "odd names": """
        for place in PLACES:
            for name in (b"-rf", b"new\\nline", b" ", b"\\\\", b"*", b"~", b"\\xff", b"x" * 255):
                open(place.encode() + b"/" + name, "w").close()
                os.makedirs(place.encode() + b"/dir-" + name[:200] + b"/" + name)
        """,
    "a deep tree": """
        for place in PLACES:
            os.chdir(place)
            for _ in range(3000):
                os.mkdir("d")
                os.chdir("d")
            open("file", "w").close()
        """,
    "ten thousand files": """
        for place in PLACES:
            for n in range(10_000):
                os.close(os.open(f"{place}/{n}", os.O_CREAT))
        """,
    "many directories": """
        for place in PLACES:
            for n in range(300):
                os.makedirs(f"{place}/{n}/0/1/2")
        """,
    "files that are open, mapped and deleted": """
        import mmap
        for place in PLACES:
            file = open(place + "/file", "wb+")
            file.write(bytes(1 << 20))
            mmap.mmap(file.fileno(), 0)[:5] = b"hello"
            if os.fork() == 0:
                os.setsid()
                os.unlink(place + "/file")
                time.sleep(1000)
        """,
    "links from many directories": """
        for place in PLACES:
            open(place + "/file", "w").close()
            for n in range(100):
                os.makedirs(f"{place}/{n}/x")
                os.link(place + "/file", f"{place}/{n}/x/link")
        """,
    "double fork": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    open("/tmp/again", "w").close()
            os._exit(0)
        """,
    "System V objects": """
        for n in range(100):
            assert libc.shmget(n, 4096, 0o1000) >= 0
            assert libc.semget(n, 3, 0o1000) >= 0
            assert libc.msgget(n, 0o1000) >= 0
        """,
    "attached System V memory": """
        id = libc.shmget(0, 4096, 0o1600)
        libc.shmat.restype = ctypes.c_void_p
        assert libc.shmat(id, None, 0) > 0
        libc.shmctl(id, 0, None)
        """,
    "POSIX queues": """
        for n in range(5):
            queue = libc.mq_open(f"/queue{n}".encode(), 0o102, 0, None)
            assert queue >= 0
            assert libc.mq_send(queue, b"secret", 6, 1) == 0
        """,
    "sockets that need no port": """
        kept = [socket.socket(family, kind) for family in (2, 10, 1, 16) for kind in (2,)]
        ends = socket.socketpair()
        ends[0].send(b"secret")
        name = socket.socket(socket.AF_UNIX)
        name.bind("\\0abstract")
        name.listen()
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen()
        """,
    "limits, priority, umask": """
        import resource
        os.umask(0)
        os.nice(5)
        for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK, resource.RLIMIT_NPROC):
            resource.setrlimit(limit, (50, 50))
        open("/proc/self/oom_score_adj", "w").write("1000")
        """,
}
PRELUDE = """
import ctypes, os, socket, time
libc = ctypes.CDLL(None)
PLACES = ("/tmp", "/dev/shm", "/more")
"""
STATE = "ulimit -a; umask; nice; cat /proc/self/oom_score_adj /proc/self/timerslack_ns; pwd; env"


@pytest.fixture
def reusable(start_box: Callable[..., Box]) -> Box:
    """Return a read-only box with all the places, so that it may be reset."""
    return start_box(
        tmpfs={"/tmp": "", "/more": "mode=700,uid=1000,size=32m"},
        mem_limit=256 << 20,
        memswap_limit=256 << 20,
    )


@pytest.fixture
def transparent(start_box: Callable[..., Box]) -> Box:
    """Return the same with places that init may read, to tell whether they are empty."""
    return start_box(
        tmpfs={"/tmp": "", "/more": "size=32m"}, mem_limit=256 << 20, memswap_limit=256 << 20
    )


@pytest.fixture
def owned(start_box: Callable[..., Box]) -> Box:
    """Return a box with a place that init may read and that the program's user owns."""
    return start_box(tmpfs={"/tmp": "", "/more": "mode=777,uid=1000,size=32m"})


@pytest.mark.parametrize("kind", ["reusable", "transparent"])
@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE)
def test_reset_removes_leftovers(request: pytest.FixtureRequest, kind: str, program: str) -> None:
    box = request.getfixturevalue(kind)
    clean, state = box.python(LOOK).stdout, box.sh(STATE).stdout
    assert clean.count("\n") == 19
    result = box.python(PRELUDE + textwrap.dedent(program))
    assert (result.status, result.stderr) == (0, "")
    # as a worker does
    if not result.done.is_clean:
        reset = box.reset()
        assert reset.ok, reset
        assert reset.wall_ns < 1e9 * PATIENCE
    assert box.python(LOOK).stdout == clean
    assert box.sh(STATE).stdout == state
    assert box.reset().ok


@pytest.mark.parametrize("script", ["true", "exit 3", "kill -9 $$", "sleep 100 & cat /etc/passwd"])
def test_program_that_leaves_nothing_needs_no_reset(transparent: Box, script: str) -> None:
    assert transparent.sh(script).done.is_clean
    assert transparent.run(["nowhere"]).done.is_clean is False
    assert transparent.sh(script).done.is_clean


@pytest.mark.parametrize("user", ["0", "1001"])
@pytest.mark.parametrize("script", ["touch /tmp/x", "mkdir /more/x", "chmod 755 /more"])
def test_leftovers_of_other_users_are_detected(transparent: Box, user: str, script: str) -> None:
    assert transparent.sh(script, "0" if "chmod" in script else user).stderr == ""
    assert not transparent.run(["true"]).done.is_clean


def test_descriptors_in_flight_do_not_reach_the_next_run(reusable: Box) -> None:
    """The kernel collects sockets that hold each other only after a delay."""
    clean = reusable.python(LOOK).stdout
    script = """
        a, b = socket.socketpair()
        file = open("/tmp/file", "w")
        socket.send_fds(a, [b"x"], [file.fileno(), b.fileno(), a.fileno()])
        """
    assert reusable.python(PRELUDE + textwrap.dedent(script)).status == 0
    if reusable.reset().stage is not Stage.SOCKETS:
        assert reusable.python(LOOK).stdout == clean


def test_fork_storm_does_not_delay_a_reset(reusable: Box) -> None:
    storm = """
        while True:
            try:
                os.fork()
                open(f"/tmp/{os.getpid()}", "w").close()
            except OSError:
                pass
        """
    start = time.monotonic()
    reusable.python(PRELUDE + textwrap.dedent(storm), timeout=0.5)
    assert reusable.reset().ok
    assert time.monotonic() - start < 20
    assert reusable.sh("ls /tmp").stdout == ""


@pytest.mark.parametrize(("family", "address"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_reset_after_a_used_port_fails(transparent: Box, family: str, address: str) -> None:
    """The next run could not bind the port, which stays in TIME_WAIT for a minute."""
    script = f"""
        server = socket.create_server(("{address}", 5000), family=socket.{family})
        client = socket.create_connection(server.getsockname()[:2])
        server.accept()[0].close()
        client.recv(1)
        client.close()
        """
    result = transparent.python(PRELUDE + textwrap.dedent(script))
    assert (result.stderr, result.done.is_clean) == ("", False)
    assert transparent.reset().stage is Stage.SOCKETS


@pytest.mark.parametrize(
    "script",
    [
        "chmod 777 /more",
        "chmod 0 /more",
        "touch /more/x; chmod 500 /more",
        '/usr/bin/python3 -c \'import os; os.setxattr("/more", "user.secret", b"x")\'',
    ],
)
def test_reset_after_a_changed_mount_fails(reusable: Box, script: str) -> None:
    assert reusable.sh(script).stderr == ""
    assert reusable.reset().stage is Stage.PLACES


@pytest.mark.parametrize(
    ("options", "user"),
    [
        ({"read_only": False}, "1000"),
        ({"tmpfs": {}}, "0"),
        ({"binds": ["/var/tmp:/sandbox:rw"]}, "1000"),
    ],
)
def test_reset_of_a_box_that_can_keep_something_fails(
    start_box: Callable[..., Box], options: dict[str, object], user: str
) -> None:
    box = start_box(**options)
    assert not box.run(["true"], user).done.is_clean
    assert box.reset().stage is Stage.WRITABLE


def test_reset_of_a_box_with_an_image_volume_fails(start_box: Callable[..., Box]) -> None:
    """An image's VOLUME is writable in a read-only box."""
    box = start_box(config={"volumes": ["/data"]})
    assert not box.run(["true"]).done.is_clean
    assert box.reset().stage is Stage.WRITABLE


def test_reset_of_a_box_with_a_network_succeeds(start_box: Callable[..., Box]) -> None:
    box = start_box(config={"network_disabled": False})
    assert box.run(["true"]).status == 0
    assert box.reset().ok


def test_reset_with_files_of_another_user_fails(reusable: Box) -> None:
    """A worker resets the box between two runs; without that, no run counts as clean."""
    assert reusable.sh("touch /tmp/x; chmod 600 /tmp/x", "1001").status == 0
    assert reusable.run(["true"], "1000").status == 0
    assert reusable.reset().stage is Stage.PLACES


TOUCH = """
for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm"):
    try:
        os.utime(path, ns=(1 << 60, 1 << 60))
    except PermissionError:
        os.utime(path)
os.utime("/more", ns=(1 << 60, 1 << 60)) if os.stat("/more").st_uid == 1000 else None
"""
TIMES = """
devices = "null", "zero", "full", "random", "urandom", "shm"
for path in (*("/dev/" + name for name in devices), "/more"):
    info = os.stat(path)
    print(info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns)
"""


@pytest.mark.parametrize("kind", ["reusable", "transparent", "owned"])
def test_run_sees_no_file_time_of_an_earlier_run(request: pytest.FixtureRequest, kind: str) -> None:
    box = request.getfixturevalue(kind)
    result = box.python(PRELUDE + TOUCH)
    assert result.stderr == ""
    if not result.done.is_clean:
        assert box.reset().ok
    time.sleep(0.05)
    start = time.time_ns()
    times = [int(time) for time in box.python(PRELUDE + TIMES).stdout.split()]
    assert len(times) == 21
    # the kernel's clock for files ticks every 10 ms at most
    assert min(times) > start - 20_000_000
    assert max(times) <= time.time_ns()


def test_reset_that_takes_too_long_can_be_killed(reusable: Box) -> None:
    script = "for n in range(60_000): os.close(os.open(f'/tmp/{n}', os.O_CREAT))"
    assert reusable.python(PRELUDE + script).status == 0
    reusable.init.reset()
    reusable.init.kill()
    answer = reusable.answer()
    assert answer.stage is Stage.CRASH
    assert reusable.reset().ok


def test_hundred_runs_with_resets_are_all_alike(reusable: Box) -> None:
    script = "ls -A /tmp /more /dev/shm; echo x > /tmp/x; id; sleep 100 &"
    outputs = set()
    for _ in range(100):
        outputs.add(reusable.sh(script).stdout)
        assert reusable.reset().ok
    assert len(outputs) == 1
