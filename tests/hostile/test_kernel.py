"""Programs that make forbidden calls and tamper with the kernel's files."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

# what Docker's own profile permits, depending on its version: the program's own memory only
PERMITTED = {
    "default": set(),
    "docker": {"fallocate", "io_uring", "memory of a child", "memory_secret", "trace a child"},
}
# a plain container's process 1 has the program's user and rights, and nothing to protect
PERMITTED_PROCESS_1 = {
    "default": {"limit of process 1"},
    "docker": {"limit of process 1", "memory of process 1", "trace process 1"},
}
KINDS_AND_USERS = [
    ("plain", "sandbox"),
    ("plain", "root"),
    ("warm", "sandbox"),
    ("warm", "root"),
    ("reused", "sandbox"),
    ("preloaded", "sandbox"),
]
# triggers, which end with their descriptor and reveal only what /proc shows to all
WRITABLE = {
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/irq",
    "/proc/pressure/memory",
}
# files that Docker hides, and files that need a capability
HIDDEN = """
cat /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats /proc/kmsg
find /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/fs/bpf /sys/kernel/debug -mindepth 1
cat /dev/mem /dev/kmem /dev/port /dev/sda /dev/vda /dev/fuse /dev/kvm
"""
# a setuid copy of id, and one that it makes itself where nothing may be executed
SETUID = "/programs/id -u; /programs/id -g; cd /dev/shm; cp /programs/id .; chmod 6777 id; ./id"


@pytest.mark.parametrize("profile", PERMITTED)
@pytest.mark.parametrize(("kind", "user"), KINDS_AND_USERS)
def test_kernel_refuses_forbidden_calls(attack, kind, user, profile):
    box = {"seccomp": profile}
    execution = attack("python", "/programs/attempts.py", user=user, timeout=5, box=box)
    assert (execution.ok, execution.stderr) == (True, "")
    permitted = PERMITTED[profile] | (PERMITTED_PROCESS_1[profile] if kind == "plain" else set())
    assert set(execution.stdout.splitlines()) <= permitted


@pytest.mark.parametrize(("kind", "user"), KINDS_AND_USERS)
def test_kernel_files_are_not_writable(attack, user):
    execution = attack("python", "/programs/writable.py", user=user, timeout=5)
    assert (execution.ok, execution.stderr) == (True, "")
    assert set(execution.stdout.splitlines()) <= WRITABLE


@pytest.mark.parametrize(("kind", "user"), KINDS_AND_USERS)
def test_secrets_of_the_host_are_hidden(attack, user):
    execution = attack("sh", "-c", f"exec 2>&-; {HIDDEN} true", user=user)
    assert (execution.ok, execution.stdout) == (True, "")


def test_program_cannot_change_its_user(attack):
    execution = attack("sh", "-c", f"exec 2>&-; {SETUID}")
    assert execution.stderr == "1000\n1000 (exit status 126)"
