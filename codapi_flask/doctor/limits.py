"""Checks of what boxes withstand: each executes a small hostile program, and judges its answer.

No program takes more than a host can bear where a limit is not in force.
"""

from __future__ import annotations

from collections.abc import Iterator

from codapi_flask.doctor.finding import Finding, broken, fine
from codapi_flask.doctor.subject import BOX, TIMEOUT, Subject, Untried

KERNEL = "the daemon's host must have cgroups with this controller, and let the daemon use it"

DOCKER = "the daemon ignores what it is asked for: use Docker Engine, without a proxy in between"

DONE = "done"
"""What a program prints at its end, if it gets there."""

FLOODED = 10_000_000
"""Bytes that a program prints."""

# 16 bytes doubled 22 times are 64 MiB
MEMORY_HOG = """
text=0123456789abcdef i=0
while [ $i -lt 22 ]; do text=$text$text i=$((i + 1)); done
echo done
"""

FORKS = """
i=0
while [ $i -lt 100 ]; do sleep 2 & i=$((i + 1)); done
echo done
"""

OPENS = """
perl -e 'while (@open < 500 and open my $file, "<", "/dev/null") { push @open, $file }
print scalar @open, "\\n"'
echo done
"""

ENDLESS = "trap '' TERM INT HUP; while :; do :; done"

FLOOD = f"yes | head -c {FLOODED}"

CONNECT = """
cut -s -d: -f1 /proc/net/dev | tr -d ' ' | grep -v '^lo$'
perl -MSocket -e 'socket($s, AF_INET, SOCK_DGRAM, 17)
    && connect($s, sockaddr_in(53, inet_aton("192.0.2.1"))) && print "route\\n"'
echo done
"""

WRITES = """
for path in / /etc /usr/bin /var/tmp /sandbox; do
    touch $path/doctor 2>/dev/null && echo $path
done
echo done
"""

STATUS = "cat /proc/self/status; echo done"

REFUSED_CALLS = """
unshare --user true 2>/dev/null && echo unshare
perl -MSocket -e 'socket(my $s, 16, SOCK_RAW, 0) && print "netlink\\n"'
echo done
"""


def memory(subject: Subject) -> Iterator[Finding]:
    """Have a program take twice its memory, and more while it copies that."""
    details = subject.run(MEMORY_HOG)
    if details["reason"] == "memory":
        yield fine(f"a program that takes more is killed: {details['told'].splitlines()[0]}")
    elif DONE in details["stdout"]:
        yield broken(f"a program took 64 MiB in a box of {BOX.memory}", f"memory: {KERNEL}")
    else:
        yield broken(f"a program that takes too much was not killed for it: {details['told']}")


def processes(subject: Subject) -> Iterator[Finding]:
    """Have a program start more processes than it may."""
    details = subject.run(FORKS)
    if DONE in details["stdout"]:
        yield broken(f"a program started 100 processes, of {BOX.nproc}", f"pids: {KERNEL}")
    elif "fork" in details["told"]:
        yield fine(f"a program cannot have more than {BOX.nproc}")
    else:
        raise Untried(details["told"])


def files(subject: Subject) -> Iterator[Finding]:
    """Have a process open more files than it may."""
    limit = int(BOX.ulimit[0].removeprefix("nofile="))
    [opened] = _printed(subject, OPENS)
    if int(opened) < limit:
        yield fine(f"a process cannot open more than {limit}")
    else:
        yield broken(f"a process opened {opened} files, of {limit}", DOCKER)


def timeout(subject: Subject) -> Iterator[Finding]:
    """Have a program ignore signals, and not end."""
    details = subject.run(ENDLESS, "endless")
    if details["reason"] == "timeout":
        yield fine(f"an endless program is killed after {TIMEOUT:g} s")
    else:
        yield broken(f"an endless program ended by itself: {details['told']}")


def output(subject: Subject) -> Iterator[Finding]:
    """Have a program print more than is kept."""
    details = subject.run(FLOOD)
    kept = len(details["stdout"])
    is_cut = kept < FLOODED and details["truncated"]["stdout"]
    yield (fine if is_cut else broken)(f"{kept} bytes of {FLOODED:,} are kept")


def network(subject: Subject) -> Iterator[Finding]:
    """Have a program look for interfaces and a route."""
    found = _printed(subject, CONNECT)
    if found:
        yield broken(f"a program without a network has {', '.join(found)}", DOCKER)
    else:
        yield fine("a program reaches nothing")


def root_file_system(subject: Subject) -> Iterator[Finding]:
    """Have root in the box write to its file system, and to the work directory."""
    if written := _printed(subject, WRITES, "root"):
        yield broken(f"root in a box can write to {', '.join(written)}", DOCKER)
    else:
        yield fine("not even root in a box can write to it")


def user(subject: Subject) -> Iterator[Finding]:
    """Look at a program's user, and at root's capabilities."""
    status = _status(subject)
    if "0" in status["Uid"].split():
        yield broken("a program runs as root", "rebuild the image: codapi sandbox build sh")
    elif status["NoNewPrivs"] != "1":
        yield broken("a program can gain privileges (set-user-ID)", DOCKER)
    elif int(_status(subject, "root")["CapEff"], 16):
        yield broken("root in a box has capabilities", DOCKER)
    else:
        yield fine("an ordinary one, for good; root in a box has no capabilities")


def seccomp(subject: Subject) -> Iterator[Finding]:
    """Look whether a filter is in force, and have a program call what it refuses."""
    if _status(subject)["Seccomp"] != "2":
        yield broken(
            "no filter is in force: programs may call all of the kernel",
            "the kernel needs CONFIG_SECCOMP_FILTER, and the daemon support for it",
        )
    elif called := _printed(subject, REFUSED_CALLS):
        yield broken(f"the server's filter is not in force: {', '.join(called)} works", DOCKER)
    else:
        yield fine("the server's filter is in force")


def _printed(subject: Subject, code: str, command: str = "run") -> list[str]:
    """Return the lines that a program printed before it was done.

    Raises:
        Untried: it did not get there.
    """
    details = subject.run(code, command)
    *lines, last = details["stdout"].splitlines() or [""]
    if last != DONE:
        raise Untried(details["told"])
    return lines


def _status(subject: Subject, command: str = "run") -> dict[str, str]:
    """Return the fields of a process's `/proc/self/status` (proc(5))."""
    lines = _printed(subject, STATUS, command)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
