"""Leaves what a server must not follow, wait for or read whole, besides a file `good`."""

import os
import socket
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

_, way, canary = sys.argv


def links():
    for name, target in {
        "file": f"{canary}/file",
        "directory": canary,
        "above": "../../../../../../../../etc",
        "chain": "link",
        "link": "directory",
        "init": "/proc/1/root",
        "self": "/proc/self/cwd",
        "loop": "loop",
        "long": "x/../" * 800 + "good",
        "own": "good",
    }.items():
        os.symlink(target, name)
    os.makedirs("tree/a")
    os.symlink(canary, "tree/a/inner")
    os.rename("main", "moved")
    os.symlink(f"{canary}/file", "main")


def hard_links():
    for source in ("main", "/etc/hosts", "/etc/passwd", "/dev/null", "/proc/self/environ"):
        with suppress(OSError):
            os.link(source, os.path.basename(source) + ".hard")
    os.link("good", "good.hard")


def pipes_and_sockets():
    os.mkfifo("pipe")
    socket.socket(socket.AF_UNIX).bind("socket")


def devices():
    for minor in (1, 3, 5, 8):
        os.mknod(f"memory{minor}", stat.S_IFCHR | 0o666, os.makedev(1, minor))
    os.mknod("disk", stat.S_IFBLK | 0o666, os.makedev(8, 0))


def files():
    for number in range(10_000):
        open(str(number), "w").close()


def directories():
    for number in range(10_000):
        os.mkdir(str(number))


def linked():
    for number in range(10_000):
        os.symlink(canary, str(number))


def deep():
    for _ in range(190):
        os.mkdir("d")
        os.chdir("d")
    open("bottom", "w").close()


def deeper():
    for _ in range(20):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    open("bottom", "w").close()


def sparse():
    with open("sparse", "w") as file:
        file.truncate(1 << 40)


def names():
    for name in (b"line\nfeed", b"\x1b[2J", "😀".encode(), b"-rf", b"x" * 255, b"\xff", b"a\xff/b"):
        path = os.fsencode(os.getcwd()) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "w").close()


def modes():
    os.makedirs("closed/inner")
    for name in ("closed/inner/file", "private", "unreadable"):
        open(name, "w").close()
    os.chmod("private", 0o600)
    os.chmod("unreadable", 0)
    os.chmod("closed", 0)


def growing():
    with open("growing", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
            time.sleep(0.01)


def swapped():
    os.mkdir("real")
    Path("real/file").write_text("fine")
    os.symlink(canary, "link")
    while True:
        os.rename("real", "other")
        os.rename("link", "real")
        os.rename("real", "link")
        os.rename("other", "real")


Path("good").write_text("fine")
globals()[way]()
