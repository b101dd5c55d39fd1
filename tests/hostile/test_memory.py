"""Programs that allocate memory of every kind."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

BOX = {"tmpfs": ["/tmp", "/dev/shm:size=1g"]}
CHILDREN = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        hold = os.urandom(1 << 20) * 10
        time.sleep(1000)
for _ in range(20):
    os.wait()
print("on")
"""
HEAP = """
blocks = []
while True:
    blocks.append(bytearray(1 << 20))
"""
MEMFD = """
import os
file = os.memfd_create("x")
while True:
    os.write(file, bytes(1 << 20))
"""
SHARED = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
while True:
    ctypes.memset(libc.shmat(libc.shmget(0, 10 << 20, 0o1600), None, 0), 1, 10 << 20)
"""
SOCKETS = """
import os, socket
while True:
    pairs = [socket.socketpair() for _ in range(40)]
    for end, _ in pairs:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
        end.setblocking(False)
        try:
            while True:
                end.send(bytes(1 << 16))
        except BlockingIOError:
            pass
"""
TABLES = """
import mmap
NORESERVE = 0x4000
area = mmap.mmap(-1, 1 << 42, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
for at in range(0, 1 << 42, 1 << 21):
    area[at]
"""
INODES = """
import os
for number in range(1 << 20):
    os.close(os.open(f"/tmp/{number}", os.O_CREAT))
"""
DIRECTORIES = """
import os
os.chdir("/tmp")
while True:
    os.mkdir("d")
    os.chdir("d")
"""

BOMBS = {
    "heap": ["python", "-c", HEAP],
    "memory files": ["python", "-c", MEMFD],
    "System V memory": ["python", "-c", SHARED],
    "sockets' buffers": ["python", "-c", SOCKETS],
    "page tables": ["python", "-c", TABLES],
    "a tmpfs": ["sh", "-c", "exec cat /dev/zero > /tmp/x"],
    "/dev/shm": ["sh", "-c", "exec cat /dev/zero > /dev/shm/x"],
    "files in a tmpfs": ["python", "-c", INODES],
    "directories in a tmpfs": ["python", "-c", DIRECTORIES],
}


@pytest.mark.parametrize("place", BOMBS)
def test_program_over_the_memory_limit_is_killed(attack, place):
    execution = attack(*BOMBS[place], timeout=10, box=BOX)
    assert (execution.ok, execution.stdout) == (False, "")
    ends = ["out of memory (64 MiB)\nexit status 137"]
    if place == "sockets' buffers":
        # the kernel may refuse memory to sockets: the program retries until its timeout
        ends.append("code execution timeout, close to its memory limit (64 MiB)")
    assert execution.stderr in ends


def test_children_over_the_memory_limit_die_before_their_parent(attack):
    execution = attack("python", "-c", CHILDREN, timeout=10)
    assert (execution.ok, execution.stdout, execution.stderr) == (True, "on\n", "")


def test_page_cache_does_not_exceed_the_memory_limit(attack):
    """The files are larger than the limit; the kernel evicts them from the cache on demand."""
    program = "cat /usr/bin/* /usr/lib/*-linux-gnu/* 2>&- | wc -c"
    execution = attack("sh", "-c", program, timeout=10)
    assert execution.ok
    assert int(execution.stdout) > 64 << 20
