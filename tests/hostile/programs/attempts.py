"""Tries calls forbidden in a box, harmlessly; prints those that succeeded."""

import ctypes
import os
import platform
import socket
import stat
import time

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NO_LIMIT, PTRACE_SEIZE = 100_000, 0x4206

NUMBERS = {
    # of the calls without a function in libc, on x86-64 and arm64
    "add_key": (248, 217),
    "bpf": (321, 280),
    "finit_module": (313, 273),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "memfd_secret": (447, 447),
    "perf_event_open": (298, 241),
    "request_key": (249, 218),
    "userfaultfd": (323, 282),
}
NAMESPACES = {
    "cgroup": 0x02000000,
    "ipc": 0x08000000,
    "mount": 0x00020000,
    "network": 0x40000000,
    "pid": 0x20000000,
    "time": 0x00000080,
    "user": 0x10000000,
    "uts": 0x04000000,
}


def call(name, *arguments):
    """Call a function of libc, or of the kernel."""
    if name in NUMBERS:
        number = NUMBERS[name][platform.machine() == "aarch64"]
        result = LIBC.syscall(number, *arguments)
    else:
        result = getattr(LIBC, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)


def numbers(*values):
    """Return a C array of long numbers."""
    return (ctypes.c_long * len(values))(*values)


def memory_of(pid):
    """Read a word of another process."""
    word = ctypes.create_string_buffer(8)
    span = numbers(ctypes.addressof(word), 8)
    call("process_vm_readv", pid, span, 1, span, 1, 0)


def of_a_child(attempt):
    """Try something with a child, which waits for it."""
    child = os.fork()
    if child == 0:
        time.sleep(1000)
    try:
        attempt(child)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def new_children(namespace):
    """Have a child in a new namespace (17 is SIGCHLD)."""
    number = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    child = LIBC.syscall(number, namespace | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child < 0:
        raise OSError(ctypes.get_errno(), "clone")


def write(path, text):
    """Write to a file as it is."""
    with open(path, "w") as file:
        file.write(text)


def kernel_addresses():
    """Find addresses of the kernel that are not hidden."""
    with open("/proc/kallsyms") as file:
        if not int(file.readline().split()[0], 16):
            raise PermissionError


PERF = ctypes.create_string_buffer(b"\1\0\0\0\x78", 120)
RING = ctypes.create_string_buffer(120)
HANDLE = ctypes.create_string_buffer(b"\x80", 136)
NOW = time.time_ns()

ATTEMPTS = {
    "add_key": lambda: call("add_key", b"user", b"x", b"x", 1, -3),
    "bpf": lambda: call(
        "bpf", 0, ctypes.create_string_buffer(b"\2\0\0\0\4\0\0\0\4\0\0\0\4", 120), 72
    ),
    "chroot": lambda: os.chroot("/"),
    "clock_adjtime": lambda: call("adjtimex", numbers(0x4000, *[10_000] * 30)),
    "clock_settime": lambda: call("clock_settime", 0, numbers(*divmod(NOW, 10**9))),
    "fallocate": lambda: call("fallocate", os.memfd_create("x"), 0, 0, 4096),
    "fanotify": lambda: call("fanotify_init", 0x200, 0),
    "finit_module": lambda: call("finit_module", os.open("/etc/passwd", os.O_RDONLY), b"", 0),
    "fsopen": lambda: call("fsopen", b"tmpfs", 0),
    "hard link to a mount": lambda: os.link("/etc/hosts", "/dev/shm/hosts"),
    "io_uring": lambda: call("io_uring_setup", 4, RING),
    "kcmp": lambda: call("kcmp", 1, os.getpid(), 0, 0, 0),
    "kernel addresses": kernel_addresses,
    "kernel log": lambda: call("klogctl", 3, RING, 100),
    "kernel log by name": lambda: os.open("/dev/kmsg", os.O_RDONLY),
    "kexec": lambda: call("kexec_load", 0, 0, 0, 0),
    "keyctl": lambda: call("keyctl", 0, -3, 1, 0, 0),
    "limit of its own": lambda: call("prlimit", 0, 7, numbers(50, NO_LIMIT), None),
    "limit of process 1": lambda: call("prlimit", 1, 7, numbers(50, 50), None),
    "memory of process 1": lambda: memory_of(1),
    "memory of a child": lambda: of_a_child(memory_of),
    "memory_secret": lambda: call("memfd_secret", 0),
    "mount": lambda: call("mount", b"x", b"/more", b"tmpfs", 0, 0),
    "mount again": lambda: call("mount", b"", b"/", b"", 0x20, 0),
    "mount elsewhere": lambda: call("mount", b"/etc", b"/more", b"", 0x1000, 0),
    "name_to_handle": lambda: call("name_to_handle_at", AT_FDCWD, b"/", HANDLE, RING, 0),
    "nice": lambda: os.nice(-5),
    "node, block": lambda: os.mknod("/dev/shm/block", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
    "node, character": lambda: os.mknod("/dev/shm/mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1)),
    "open_by_handle": lambda: call("open_by_handle_at", AT_FDCWD, HANDLE, 0),
    "open_tree": lambda: call("open_tree", AT_FDCWD, b"/", 1),
    "oom_score": lambda: write("/proc/self/oom_score_adj", "-999"),
    "owner": lambda: os.chown("/more", 4711, 4711),
    "perf": lambda: call("perf_event_open", PERF, 0, -1, -1, 0),
    "personality": lambda: call("personality", 0x40000),
    "pidfd_getfd": lambda: call("pidfd_getfd", os.pidfd_open(1), 0, 0),
    "pivot_root": lambda: call("pivot_root", b"/", b"/"),
    "quotactl": lambda: call("quotactl", 0x80000100, 0, 0, 0),
    "real-time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "request_key": lambda: call("request_key", b"user", b"x", b"x", -3),
    "setgid": lambda: os.setresgid(4711, 4711, 4711),
    "setgroups": lambda: os.setgroups([4711]),
    "sethostname": lambda: socket.sethostname(socket.gethostname()),
    "setuid": lambda: os.setresuid(4711, 4711, 4711),
    "settimeofday": lambda: call("settimeofday", numbers(*divmod(NOW // 1000, 10**6)), 0),
    "swapon": lambda: call("swapon", b"/more", 0),
    "accounting": lambda: call("acct", 0),
    "trace a child": lambda: of_a_child(lambda pid: call("ptrace", PTRACE_SEIZE, pid, 0, 0)),
    "trace process 1": lambda: call("ptrace", PTRACE_SEIZE, 1, 0, 0),
    "unmount": lambda: call("umount2", b"/etc/hosts", 2),
    "userfaultfd": lambda: call("userfaultfd", 1),
    "write to /etc/hosts": lambda: write("/etc/hosts", "x"),
    "write to the image": lambda: write("/usr/bin/id", "x"),
    **{
        f"namespace, {name}": lambda flag=flag: call("unshare", flag)
        for name, flag in NAMESPACES.items()
    },
    **{
        f"namespace of a child, {name}": lambda flag=flag: new_children(flag)
        for name, flag in NAMESPACES.items()
        if name != "time"
    },
}


if __name__ == "__main__":
    for name, attempt in ATTEMPTS.items():
        # in its own process: its effects must not help the next attempt
        child = os.fork()
        if child == 0:
            try:
                attempt()
            except OSError:
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        if status:
            print(name, flush=True)
