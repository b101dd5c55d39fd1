"""All checks in their order, and how they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from codapi_flask.client.target import TargetError
from codapi_flask.doctor import host, limits, sandboxes, starts
from codapi_flask.doctor.finding import Finding, broken
from codapi_flask.doctor.subject import Subject, Untried
from codapi_flask.errors import ConfigError, NotRunning, ServerFault


@dataclass(frozen=True, slots=True)
class Check:
    """A check by its name; what follows one that `is_needed` cannot be tried if it is broken."""

    name: str
    find: Callable[[Subject], Iterator[Finding]]
    is_needed: bool = False


DAEMON = Check("daemon", host.daemon, is_needed=True)
"""The check without which nothing can be tried."""

CHECKS = (
    Check("libraries", host.libraries),
    Check("config", sandboxes.config),
    DAEMON,
    Check("cgroup", host.cgroup),
    Check("work directory", host.work_directory, is_needed=True),
    Check("disk", host.disk),
    Check("descriptors", host.descriptors),
    Check("images", sandboxes.images),
    Check("audit", sandboxes.audit),
    Check("cold start", starts.cold, is_needed=True),
    Check("warm start", starts.warm),
    Check("runtimes", sandboxes.runtimes),
    Check("memory", limits.memory),
    Check("processes", limits.processes),
    Check("open files", limits.files),
    Check("timeout", limits.timeout),
    Check("output", limits.output),
    Check("network", limits.network),
    Check("file system", limits.root_file_system),
    Check("user", limits.user),
    Check("seccomp", limits.seccomp),
)


def examine(
    root: Path, begin: Callable[[Check], None] = lambda _: None
) -> Iterator[tuple[Check, Finding]]:
    """Do all checks with the config below a root; yield findings as they are found.

    `begin` is called with each check before it is done. After a broken one that others need, no
    further one is done.
    """
    with closing(Subject(root)) as subject:
        for check in CHECKS:
            begin(check)
            is_broken = False
            for finding in _findings(check, subject):
                is_broken |= finding.verdict == "broken"
                yield check, finding
            if is_broken and check.is_needed:
                return


def _findings(check: Check, subject: Subject) -> Iterator[Finding]:
    try:
        yield from check.find(subject)
    except ConfigError as error:
        yield from map(broken, error.problems)
    except (ServerFault, NotRunning, TargetError, Untried, OSError) as error:
        yield broken(f"it cannot be tried: {error}")
