"""Hostile programs against process 1 and its connection."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.initbox import Box

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

WHO = [
    pytest.param("1000", ["ALL"], "", id="user"),
    pytest.param("0", ["ALL"], "", id="root-without-capabilities"),
    pytest.param("0", [], "", id="root"),
    *(
        pytest.param("0", [], f"os.setgroups([]); os.setgid({gid}); os.setuid({uid})", id=f"{uid}")
        for uid, gid in [(2147480001, 2147480001), (2147480002, 2147480002)]
    ),
]
CALLS = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
{become}
limit, local = (ctypes.c_ulong * 2)(0, 0), ctypes.create_string_buffer(16)
here = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)
there = (ctypes.c_void_p * 2)(0x200000, 8)
pidfd = os.pidfd_open(1)
calls = dict(
    attach=lambda: libc.ptrace(16, 1, 0, 0),
    seize=lambda: libc.ptrace(0x4206, 1, 0, 0),
    limit=lambda: libc.prlimit(1, 7, ctypes.byref(limit), None),
    limits=lambda: libc.prlimit(1, 7, None, ctypes.byref(limit)),
    read=lambda: libc.process_vm_readv(1, here, 1, there, 1, 0),
    write=lambda: libc.process_vm_writev(1, here, 1, there, 1, 0),
    nice=lambda: libc.setpriority(0, 1, 19),
    affinity=lambda: libc.sched_setaffinity(1, 8, ctypes.byref(ctypes.c_ulong(1))),
    **{{f"take {{n}}": lambda n=n: libc.syscall(438, pidfd, n, 0) for n in range(3, 12)}},
)
for name, call in calls.items():
    if call() != -1:
        print("allowed:", name)
for number in signal.valid_signals():
    try:
        os.kill(1, number)
    except PermissionError:
        pass
"""
FILES = """
import os
{become}
for name in ("environ", "mem", "maps", "auxv", "fd/0", "fd/3", "root", "map_files", "fd", "io"):
    path = "/proc/1/" + name
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        print("read:", name)
    except (PermissionError, FileNotFoundError):
        pass
for name in ("oom_score_adj", "comm", "coredump_filter", "autogroup", "clear_refs", "mem"):
    try:
        os.close(os.open("/proc/1/" + name, os.O_WRONLY))
        print("write:", name)
    except PermissionError:
        pass
for name in ("fd/0", "fd/3", "root", "cwd", "exe"):
    try:
        print("link:", os.readlink("/proc/1/" + name))
    except (PermissionError, FileNotFoundError):
        pass
"""


@pytest.mark.parametrize(("user", "drop", "become"), WHO)
def test_process_1_is_out_of_reach(
    start_box: Callable[..., Box], user: str, drop: list[str], become: str
) -> None:
    box = start_box(cap_drop=drop)
    result = box.python(CALLS.format(become=become), user)
    assert (result.status, result.stdout, result.stderr) == (0, "", "")
    assert box.run(["cat", "/proc/1/comm"]).stdout == "init\n"


@pytest.mark.parametrize(("user", "drop", "become"), [*WHO[:2], WHO[3]])
def test_files_of_process_1_are_out_of_reach(
    start_box: Callable[..., Box], user: str, drop: list[str], become: str
) -> None:
    box = start_box(cap_drop=drop)
    result = box.python(FILES.format(become=become), user)
    assert (result.status, result.stdout, result.stderr) == (0, "", "")


def test_root_with_dockers_capabilities_reads_no_descriptor(
    start_box: Callable[..., Box],
) -> None:
    """DAC_OVERRIDE lets root list them and write oom_score_adj; both harm only its own box."""
    box = start_box(cap_drop=[])
    result = box.python(FILES.format(become=""), "0")
    assert set(re.findall("^(?:read|link): .*", result.stdout, re.MULTILINE)) <= {"read: fd"}


@pytest.mark.parametrize("user", ["1000", "0"])
def test_directory_of_the_connection_is_empty_and_closed(box: Box, user: str) -> None:
    script = "ls -A /.codapi; touch /.codapi/socket || mkdir /.codapi/x || chmod 777 /.codapi"
    result = box.sh(script, user)
    assert result.stdout == ""
    assert result.status != 0
    connect = "import socket; socket.socket(1, 5).connect('/.codapi/socket')"
    assert "FileNotFoundError" in box.python(connect, user).stderr


@pytest.mark.parametrize("user", ["1000", "0"])
def test_program_inherits_three_descriptors(box: Box, user: str) -> None:
    assert box.python("import os; print(os.listdir('/proc/self/fd'))", user).stdout == (
        "['0', '1', '2', '3']\n"  # the last is the directory itself
    )


@pytest.mark.parametrize("drop", [["ALL"], []])
def test_program_regains_no_capability(start_box: Callable[..., Box], drop: list[str]) -> None:
    box = start_box(cap_drop=drop)
    script = """
        grep Cap /proc/self/status > /dev/shm/before
        for program in su mount passwd chfn; do echo | $program >/dev/null 2>&1; done
        grep Cap /proc/self/status | diff - /dev/shm/before && cat /dev/shm/before"""
    result = box.sh(script)
    assert result.status == 0
    assert re.search(r"CapPrm:\s0+\nCapEff:\s0+\n", result.stdout)
    setuid = "import os\nfor f in (os.setuid, os.setgid):\n try: f(0); print('root')\n"
    assert box.python(setuid + " except PermissionError: pass").stdout == ""


def test_program_cannot_keep_keys(box: Box) -> None:
    """The seccomp profile forbids keys, so a reset need not look for any."""
    calls = "import ctypes, os; f = ctypes.CDLL(None, use_errno=True).syscall; "
    keys = "print([(f(n, 0, 0, 0, 0, 0), ctypes.get_errno()) for n in (248, 249, 250)])"
    assert box.python(calls + keys).stdout == "[(-1, 1), (-1, 1), (-1, 1)]\n"


def test_init_binary_is_out_of_reach(start_box: Callable[..., Box]) -> None:
    box = start_box(binds=[])
    script = "import os; print(os.path.exists('/.codapi/init'), os.access('/proc/1/exe', os.R_OK))"
    assert box.python(script, "0").stdout == "False False\n"


def test_init_does_not_start_without_no_new_privileges(
    start_box: Callable[..., Box],
) -> None:
    with pytest.raises(ConnectionError, match="init cannot start: Operation not permitted"):
        start_box(security_opt=[])
