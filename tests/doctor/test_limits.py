"""What boxes withstand, with a daemon that enforces limits, and with one that does not."""

from __future__ import annotations

import pytest

from codapi_flask.doctor import limits
from codapi_flask.doctor.subject import Untried

pytestmark = pytest.mark.docker

FINE = [
    (limits.memory, "a program that takes more is killed: out of memory (32 MiB)"),
    (limits.processes, "a program cannot have more than 16"),
    (limits.files, "a process cannot open more than 96"),
    (limits.timeout, "an endless program is killed after 1 s"),
    (limits.output, "4096 bytes of 10,000,000 are kept"),
    (limits.network, "a program reaches nothing"),
    (limits.root_file_system, "not even root in a box can write to it"),
    (limits.user, "an ordinary one, for good; root in a box has no capabilities"),
    (limits.seccomp, "the server's filter is in force"),
]
NO_SECURITY = {b'"SecurityOpt"': b'"XecurityOpt"'}
BROKEN = [
    (limits.memory, {b'"Memory': b'"Xemory'}, "a program took 64 MiB in a box of 32"),
    (limits.processes, {b'"PidsLimit"': b'"XidsLimit"'}, "a program started 100 processes, of 16"),
    (limits.files, {b'"Ulimits"': b'"Xlimits"'}, "a process opened 500 files, of 96"),
    (
        limits.network,
        {b'"NetworkMode"': b'"XetworkMode"', b'"NetworkDisabled"': b'"XetworkDisabled"'},
        "a program without a network has eth0, route",
    ),
    (
        limits.root_file_system,
        {b'"ReadonlyRootfs"': b'"XeadonlyRootfs"'},
        "root in a box can write to /, /etc, /usr/bin, /var/tmp",
    ),
    (
        limits.root_file_system,
        {b"/sandbox:ro": b"/sandbox:rw"},
        "root in a box can write to /sandbox",
    ),
    (limits.user, NO_SECURITY, "a program can gain privileges (set-user-ID)"),
    (limits.seccomp, NO_SECURITY, "the server's filter is not in force: netlink works"),
]


@pytest.mark.parametrize(("check", "text"), FINE, ids=lambda value: getattr(value, "__name__", ""))
def test_limit_in_force_is_fine(subject, check, text):
    [finding] = check(subject())
    assert (finding.verdict, finding.text) == ("fine", text)


@pytest.mark.parametrize(
    ("check", "renamed", "text"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_limit_that_the_daemon_ignores_is_broken(subject, check, renamed, text):
    [finding] = check(subject(renamed=renamed))
    assert (finding.verdict, finding.text) == ("broken", text)
    assert finding.remedy


@pytest.mark.parametrize("check", [limits.network, limits.root_file_system, limits.seccomp])
def test_program_that_does_not_run_proves_nothing(subject, check):
    with pytest.raises(Untried):
        # a shell that cannot start anything
        list(check(subject(renamed={b'"PidsLimit": 17': b'"PidsLimit":  2'})))
