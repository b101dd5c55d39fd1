"""Checks of how boxes start: on demand, and ahead of requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from codapi_flask.boxes.box import Box, NoInit, can_have_init
from codapi_flask.doctor.finding import Finding, broken, fine, weak
from codapi_flask.doctor.subject import BOX, IMAGE, Subject
from codapi_flask.program import Program
from codapi_flask.streams import Cancel

TRIES = 3

SLOW = 2000.0
"""Milliseconds of a cold run above which the start of boxes is slow: most hosts take 300."""


def cold(subject: Subject) -> Iterator[Finding]:
    """Measure a run in a box that is started for it."""
    if not subject.daemon.image(IMAGE):
        yield broken(
            f"the image {IMAGE} is missing, with which boxes are tried", "codapi sandbox build sh"
        )
        return
    took = []
    for _ in range(TRIES):
        details = subject.run("echo hello")
        if details["stdout"] != "hello\n":
            yield broken(f"a program that prints hello does not: {details['told']}")
            return
        took.append(details["duration"])
    text = f"a run takes {median(took):.0f} ms with the start of its box"
    if median(took) > SLOW:
        limit = subject.config.start_timeout
        yield weak(
            f"{text}, of {limit:g} s that a box may take",
            "keep boxes warm, raise start_timeout, or find what the host is busy with",
        )
    else:
        yield fine(text)


def warm(subject: Subject) -> Iterator[Finding]:
    """Start a box ahead of its runs, as the server's keeper does, and measure runs in it."""
    if not can_have_init(BOX, subject.daemon):
        yield weak(
            f"no box can wait: the daemon at {subject.daemon.url} is on another host",
            "run the server on the daemon's host",
        )
        return
    lease = subject.instance.lease()
    try:
        box = Box.start(subject.daemon, BOX, subject.instance, lease, "warm")
    except NoInit as error:
        lease.drop()
        yield weak(f"no box can wait, each run gets a plain container: {error}", _cause(subject))
        return
    except BaseException:
        lease.drop()
        raise
    try:
        yield from _runs(box, subject)
    finally:
        box.discard()


def _runs(box: Box, subject: Subject) -> Iterator[Finding]:
    took, program = [], Program(["true"], "sandbox")
    for _ in range(TRIES):
        start = time.monotonic()
        outcome = box.run(program, Cancel())
        took.append((time.monotonic() - start) * 1000)
        if not outcome.ok:
            yield broken(f"true fails in a box that waited: {outcome.stderr}")
            return
        if not box.reset(subject.config.timeouts.reset):
            yield weak(f"a box cannot be reset after a run: {box.unclean or 'it died'}")
            return
    yield fine(f"a run takes {median(took):.0f} ms in a box that waits, which can be reset")


def _cause(subject: Subject) -> str:
    """Return the likely remedy for an init that does not report."""
    security = " ".join(subject.daemon.info().get("SecurityOptions") or ())
    modules = [name for name in ("selinux", "apparmor") if f"name={name}" in security]
    who = " or ".join(modules) or "a security module"
    return f"the kernel's log tells whether {who} refuses its socket: journalctl --dmesg"
