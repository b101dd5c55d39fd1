"""The seccomp profile: calls that it refuses beyond Docker's own, and programs under it."""

from __future__ import annotations

import errno
import json
import platform
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from codapi_flask import daemon
from tests.support.compiler import compile_c
from tests.support.instance import PYTHON, docker

__all__ = ["compile_c"]

pytestmark = pytest.mark.docker

OURS = f"--security-opt=seccomp={Path(daemon.__file__).with_name('seccomp.json')}"


def calls(table: str) -> tuple[str, ...]:
    """Return the calls of a table as C expressions; missing arguments are 0."""
    return tuple(
        f"syscall(SYS_{' '.join(call.split())}, 0, 0, 0, 0, 0)" for call in table.split(";")
    )


REFUSED = calls("""
    add_key; keyctl; request_key;

    kcmp; migrate_pages; move_pages; pidfd_getfd; process_madvise; process_mrelease;
    process_vm_readv; process_vm_writev; ptrace;

    bpf; fanotify_init; fanotify_mark; io_cancel; io_destroy; io_getevents; io_setup; io_submit;
    io_uring_enter; io_uring_register; io_uring_setup; landlock_create_ruleset; lookup_dcookie;
    memfd_secret; perf_event_open; remap_file_pages; seccomp; syslog; tee; userfaultfd; vmsplice;

    chroot; fsconfig; fsmount; fsopen; fspick; mount; mount_setattr; move_mount; open_tree;
    pivot_root; setns; umount2; unshare;
    clone, CLONE_NEWCGROUP | SIGCHLD; clone, CLONE_NEWIPC | SIGCHLD; clone, CLONE_NEWNET | SIGCHLD;
    clone, CLONE_NEWNS | SIGCHLD; clone, CLONE_NEWPID | SIGCHLD; clone, CLONE_NEWUSER | SIGCHLD;
    clone, CLONE_NEWUTS | SIGCHLD;

    name_to_handle_at; open_by_handle_at;
    mknodat, AT_FDCWD, "/dev/shm/x", S_IFBLK; mknodat, AT_FDCWD, "/dev/shm/x", S_IFCHR;

    adjtimex; clock_adjtime; clock_settime; settimeofday;

    acct, 1; delete_module; finit_module; init_module; kexec_file_load; kexec_load, 0, 99;
    nfsservctl; quotactl; quotactl_fd; reboot; setdomainname; sethostname; swapoff; swapon; sync;
    syncfs; vhangup;

    ioctl, 0, FS_IOC_GETFLAGS; ioctl, 0, FS_IOC_FSSETXATTR; ioctl, 0, FICLONE; ioctl, 0, FIFREEZE;
    ioctl, 0, _IO(0x94, 1); ioctl, 0, _IO(0x12, 1);

    get_mempolicy; ioprio_set; mbind; set_mempolicy; setfsgid; setfsuid;
    personality, PER_LINUX32; personality, ADDR_NO_RANDOMIZE; personality, READ_IMPLIES_EXEC;

    socket, AF_ALG, SOCK_SEQPACKET; socket, AF_BLUETOOTH, SOCK_RAW, 1;
    socket, AF_CAN, SOCK_RAW, 1; socket, AF_KEY, SOCK_RAW, 2; socket, AF_NFC, SOCK_RAW;
    socket, AF_PACKET, SOCK_DGRAM; socket, AF_QIPCRTR, SOCK_DGRAM; socket, AF_RDS, SOCK_SEQPACKET;
    socket, AF_TIPC, SOCK_DGRAM; socket, AF_VSOCK, SOCK_STREAM;
    socket, AF_VSOCK | 1L << 32, SOCK_STREAM; socket, AF_XDP, SOCK_RAW;
    socket, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT; socket, AF_NETLINK, SOCK_RAW, NETLINK_GENERIC;
    socket, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT;
    socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER;
    socket, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG; socket, AF_NETLINK, SOCK_RAW, NETLINK_XFRM;
    socket, AF_INET, SOCK_DCCP, IPPROTO_DCCP; socket, AF_INET, SOCK_DGRAM, IPPROTO_ICMP;
    socket, AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE; socket, AF_INET, SOCK_RAW, IPPROTO_RAW;
    socket, AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP; socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP;
    socket, AF_INET6, SOCK_STREAM, IPPROTO_SCTP; socketpair, AF_TIPC, SOCK_STREAM
""")
# libc can do without these; one of them exists in no kernel
UNSUPPORTED = {
    **dict.fromkeys(calls("clone3; getpid + 100000"), errno.ENOSYS),
    **dict.fromkeys(calls("fallocate"), errno.EOPNOTSUPP),
}
ALLOWED = calls("""
    clone, SIGCHLD; close_range, 50, 60; copy_file_range; faccessat2, AT_FDCWD, "/"; getrandom;
    membarrier; memfd_create, "name"; mknodat, AT_FDCWD, "/dev/shm/fifo", S_IFIFO | 0600; openat2;
    personality, 0xffffffff; pidfd_open; rseq; sched_setattr; statx;
    ioctl, 0, TCGETS; ioctl, 0, FIONREAD; ioctl, 0, SIOCGIFNAME;
    socket, AF_INET, SOCK_DGRAM, IPPROTO_UDP; socket, AF_INET6, SOCK_DGRAM;
    socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP;
    socket, AF_INET6, SOCK_STREAM; socket, AF_UNIX, SOCK_SEQPACKET;
    socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE
""")
# system calls of i386 and x32
FOREIGN = ("INT80(20)", "syscall(SYS_getpid | 0x40000000)")
IS_X86 = platform.machine() == "x86_64"
if IS_X86:
    REFUSED += calls("""
        iopl; ioperm; modify_ldt; mknod, "/dev/shm/x", S_IFCHR; sysfs; uselib; ustat
    """)
# calls that all versions of Docker's own profile allow
LOOSE = calls("""
    adjtimex; fanotify_mark; io_setup; ioprio_set; mknodat, AT_FDCWD, "/dev/shm/x", S_IFCHR;
    personality, PER_LINUX32; ptrace; remap_file_pages; seccomp; setfsuid; syncfs; tee;
    vmsplice; socket, AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE;
    socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP; socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER;
    socket, AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG; socket, AF_TIPC, SOCK_DGRAM
""")
# with these, only the profile is left to refuse a call
CAPABILITIES = """
    DAC_READ_SEARCH MKNOD NET_ADMIN NET_RAW SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
    SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME SYS_TTY_CONFIG
"""

# prints for each call its errno, 0, or the negated signal that ended its process
SOURCE = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define INT80(number) ({ long a = number; __asm__ volatile("int $0x80" : "+a"(a)); a; })
#define TELL(result) \\
    child = fork(); \\
    if (child == 0) \\
        _exit(result == -1 ? errno : 0); \\
    waitpid(child, &status, 0); \\
    printf("%d\\n", WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));

int main(void)
{
    int child, status;
"""

# program: what it prints
SHELL = {
    "seq 9 | sort --reverse --parallel=2 | head -1": "9\n",
    "sleep 0.01 & wait $! && echo waited": "waited\n",
    "mkfifo f; echo through > f & cat f": "through\n",
    "cp -a /etc/passwd a; mv a b; ln b c; touch -d @0 b; stat -c %Y c": "0\n",
    "tar czf a.gz -C /etc passwd; tar tzf a.gz": "passwd\n",
    "flock lock echo locked": "locked\n",
    "sync && echo synced": "synced\n",
    "trap 'echo caught' USR1; kill -USR1 $$": "caught\n",
    "timeout 0.01 sleep 9; echo $?": "124\n",
    "ulimit -c 0; nice -n 5 taskset 1 setsid --wait echo nice": "nice\n",
    "perl -e 'print fork ? wait > 0 : exit'": "1",
}
PYTHON_PROGRAMS = {
    "threads": """
from concurrent.futures import ThreadPoolExecutor
print(*ThreadPoolExecutor(4).map(abs, [-1, -2]))
""",
    "processes": """
import multiprocessing
for method in multiprocessing.get_all_start_methods():
    with multiprocessing.get_context(method).Pool(2) as pool:
        pool.map(abs, [0])
print(1, 2)
""",
    "programs": """
import asyncio, subprocess
async def main():
    process = await asyncio.create_subprocess_exec("echo", "2", stdout=-1)
    return (await process.communicate())[0].decode()
try:
    subprocess.run(["sleep", "9"], timeout=0.01, start_new_session=True)
except subprocess.TimeoutExpired:
    print(1, asyncio.run(main()), end="")
""",
    "sockets": """
import socket
socket.getaddrinfo("localhost", 80), socket.socketpair(), socket.socket(type=socket.SOCK_DGRAM)
server = socket.create_server(("localhost", 0))
client = socket.create_connection(server.getsockname())
client.send(b"1 2")
print(server.accept()[0].recv(9).decode())
""",
    "shared memory": """
import mmap, os
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=9)
memory.buf[:3] = b"1 2"
memory.unlink()
mmap.mmap(-1, 9), os.posix_fallocate(os.memfd_create("name"), 0, 9)
print(memory.buf[:3].tobytes().decode())
""",
    "sqlite": """
import sqlite3
database = sqlite3.connect("/tmp/database")
database.execute("pragma journal_mode = wal")
database.execute("create table t as select 1, 2")
database.commit()
print(*database.execute("select * from t").fetchone())
""",
    "numpy and pandas": """
import numpy, pandas
pandas.DataFrame({"a": numpy.linalg.inv(numpy.eye(300))[0]}).to_csv("/tmp/a.csv")
print(int(pandas.read_csv("/tmp/a.csv")["a"].sum()), 2)
""",
}

# the kernel uses only the low half of a limit's number
LIMITS = """
import ctypes, os, resource
numbers = {"x86_64": (160, 302), "aarch64": (164, 261)}[os.uname().machine]
call, none = ctypes.CDLL(None).syscall, ctypes.byref((ctypes.c_ulong * 2)(0, 0))
limits = [limit for limit in range(16) if limit != resource.RLIMIT_CORE]
print(len(limits), all(
    call(number, *[0] * i, limit, ctypes.byref(now), None) == 0
    for i, number in enumerate(numbers)
    for limit in limits
    for now in [(ctypes.c_ulong * 2)(*(n & (1 << 64) - 1 for n in resource.getrlimit(limit)))]
))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
print(0, resource.getrlimit(resource.RLIMIT_CORE))
for i, number in enumerate(numbers):
    for limit in (4, 4 + (1 << 32)):
        result = call(number, *[0] * i, ctypes.c_ulong(limit), none, None)
        print(result, resource.getrlimit(resource.RLIMIT_CORE))
"""

OWN = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
# the box's config, and the commands that succeed in it
CHOICES = [
    ({}, "mkdir\n"),
    ({"seccomp": "default"}, "mkdir\n"),
    ({"seccomp": "docker"}, "ionice\nmkdir\n"),
    ({"seccomp": "own/profile.json"}, "ionice\n"),
]


@pytest.fixture(scope="module")
def results(compile_c, tmp_path_factory) -> Callable[..., dict[str, int]]:
    """Return a function that evaluates C expressions in a box."""

    @cache
    def results(expressions: tuple[str, ...], *options: str) -> dict[str, int]:
        source = tmp_path_factory.mktemp("source") / "calls.c"
        source.write_text(f"{SOURCE}{''.join(f'TELL({each})' for each in expressions)}}}\n")
        program = compile_c("calls", "-static", source)
        box = ["--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", *options]
        box += [f"--volume={program}:/calls:ro", "codapi/sh", "/calls"]
        lines = docker("run", "--rm", *box).splitlines()
        return dict(zip(expressions, map(int, lines), strict=True))

    return results


@pytest.fixture(scope="module")
def answer(results) -> Callable[[str], int]:
    """Return a function that makes a call as a root with capabilities, under the profile."""
    options = [OURS, "--user=0", *(f"--cap-add={name}" for name in CAPABILITIES.split())]
    return results((*REFUSED, *UNSUPPORTED, *ALLOWED), *options).__getitem__


@pytest.mark.parametrize("call", REFUSED)
def test_refused_call_fails_with_eperm(answer, call):
    assert answer(call) == errno.EPERM


@pytest.mark.parametrize("call", UNSUPPORTED)
def test_unsupported_call_fails_with_its_errno(answer, call):
    assert answer(call) == UNSUPPORTED[call]


@pytest.mark.parametrize("call", ALLOWED)
def test_allowed_call_passes_the_profile(answer, call):
    assert answer(call) not in (errno.EPERM, errno.ENOSYS)


@pytest.mark.parametrize("call", LOOSE)
def test_profile_refuses_calls_that_dockers_profile_allows(results, call):
    assert results(LOOSE)[call] != errno.EPERM
    assert results(LOOSE, OURS)[call] == errno.EPERM


@pytest.mark.skipif(not IS_X86, reason="that machine has them")
@pytest.mark.parametrize("call", FOREIGN)
def test_program_using_a_foreign_abi_is_killed(results, call):
    assert results(FOREIGN, OURS)[call] == -signal.SIGSYS


@pytest.mark.parametrize("kind", ["cold"])
@pytest.mark.parametrize("program", SHELL)
def test_shell_script_runs_under_the_profile(run, program):
    execution = run("sh", "-c", f"cd /tmp; {program}", box={"tmpfs": ["/tmp"]})
    assert (execution.stdout, execution.stderr) == (SHELL[program], "")


@pytest.mark.parametrize("kind", ["cold"])
@pytest.mark.parametrize("name", PYTHON_PROGRAMS)
def test_python_program_runs_under_the_profile(run, name):
    box: dict[str, Any] = {**PYTHON, "tmpfs": ["/tmp"], "memory": 256}
    execution = run("python", "-c", PYTHON_PROGRAMS[name], box=box)
    assert (execution.stdout, execution.stderr) == ("1 2\n", "")


@pytest.mark.parametrize("kind", ["plain", "cold"])
def test_program_can_set_every_limit_except_core_dumps(run, kind):
    execution = run("python", "-c", LIMITS, box={**PYTHON, "ulimit": ["nofile=96"]})
    assert (execution.stdout, execution.stderr) == ("15 True\n0 (1, 1)\n" + "0 (1, 1)\n" * 4, "")


@pytest.mark.parametrize(("config", "output"), CHOICES)
def test_box_has_the_profile_of_its_config(run, config, output):
    script = "exec 2>&-; ionice -c 3 echo ionice; mkdir /tmp/d && echo mkdir; true"
    box = {"tmpfs": ["/tmp"], **config}
    execution = run("sh", "-c", script, box=box, root={"own/profile.json": json.dumps(OWN)})
    assert execution.stdout == output
