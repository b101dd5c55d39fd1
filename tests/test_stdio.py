import fcntl
import os
import pty
import re
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from codapi_flask.stdio import BACKLOG_MAX
from tests.support.server import REPOSITORY

INSTALL = "import os, sys; from codapi_flask import stdio; stdio.install()\n"
LINES = """
for number in range({lines}):
    print(f"{{number:0{width}}}", file=sys.stderr)
os.write(1, b"done")
"""
DROPPED = re.compile(r"(\d+) lines were dropped: nobody read them")


def program(text, stderr, **kwargs):
    """Start Python on a text whose stderr is a descriptor."""
    command = [sys.executable, "-c", INSTALL + text]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": REPOSITORY}
    return subprocess.Popen(command, stderr=stderr, **pipes, **kwargs)


def pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def terminal():
    reader, writer = pty.openpty()
    # as it is, without carriage returns
    subprocess.run(["stty", "raw"], stdin=writer, check=True)
    return reader, writer


def stream():
    return tuple(end.detach() for end in socket.socketpair())


def text_of(reader):
    """Return all that comes until the writers have closed."""
    parts = []
    # a terminal without writers has an error in place of an end
    with suppress(OSError):
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    os.close(reader)
    return b"".join(parts).decode()


@pytest.mark.parametrize("make", [pipe, terminal, stream])
def test_lines_that_nobody_reads_wait_and_come_in_order(make):
    reader, writer = make()
    lines = 250
    text = LINES.format(lines=lines, width=999)
    with program(text + "sys.stdin.read()", writer) as done:
        os.close(writer)
        assert done.stdout.read(4) == b"done"
        done.stdin.close()
        assert text_of(reader).split() == [f"{number:0999}" for number in range(lines)]


def test_lines_beyond_the_backlog_are_counted_in_their_place():
    reader, writer = pipe()
    lines = 2 * BACKLOG_MAX // 100
    text = LINES.format(lines=lines, width=99)
    with program(text + "sys.stdin.read(); print('last', file=sys.stderr)", writer) as done:
        os.close(writer)
        assert done.stdout.read(4) == b"done"
        read = b""
        while b"dropped" not in read:
            read += os.read(reader, 4096)
        done.stdin.close()
        read = (read.decode() + text_of(reader)).splitlines()
    *kept, told, last = read
    assert kept == [f"{number:099}" for number in range(len(kept))]
    assert len(kept) > BACKLOG_MAX // 100
    assert int(DROPPED.fullmatch(told)[1]) == lines - len(kept)
    assert last == "last"


def test_stdout_does_not_wait_either():
    reader, writer = pipe()
    with program("for _ in range(100): print('x' * 999)\nos.write(2, b'done')", writer) as done:
        os.close(writer)
        # stdout, of 64 KiB, is not read
        assert os.read(reader, 4) == b"done"
        assert done.stdout.read() == (b"x" * 999 + b"\n") * 100
    os.close(reader)


def test_shared_descriptor_keeps_its_flags():
    reader, writer = pipe()
    with program(LINES.format(lines=100, width=999), writer) as done:
        assert done.stdout.read(4) == b"done"
        assert os.get_blocking(writer)
        os.close(writer)
        os.close(reader)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_pipe_of_another_user_does_not_make_its_writer_wait():
    reader, writer = pipe()
    text = LINES.format(lines=100, width=999)
    with program(text + "sys.stdin.read()", writer, user=65534) as done:
        os.close(writer)
        assert done.stdout.read(4) == b"done"
        done.stdin.close()
        assert len(text_of(reader).split()) == 100


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), 9)",
        "os._exit(1)",
        "raise RuntimeError('the end')",
        "sys.exit('the end')",
        "import threading; threading.Thread(target=lambda: 1 / 0).start()",
    ],
)
def test_last_line_is_not_lost_while_somebody_reads(end):
    reader, writer = pipe()
    with program(f"print('the end', file=sys.stderr)\n{end}", writer):
        os.close(writer)
        read = text_of(reader)
    assert read.startswith("the end\n")
    assert read.count("the end") == 1 + end.count("the end")
    assert ("ZeroDivisionError" in read) == ("1 / 0" in end)


@pytest.mark.parametrize("end", ["", "raise RuntimeError", "sys.exit('the end')"])
def test_program_ends_although_nobody_reads(end):
    reader, writer = pipe()
    with program(LINES.format(lines=100, width=999) + end, writer) as done:
        os.close(writer)
        assert done.wait(10) == bool(end)
    os.close(reader)


def test_backlog_is_written_at_the_end():
    reader, writer = pipe()
    text = LINES.format(lines=100, width=999)
    with program(text, writer) as done:
        os.close(writer)
        assert done.stdout.read(4) == b"done"
        assert len(text_of(reader).split()) == 100


@pytest.mark.parametrize(("make", "is_one"), [(pipe, False), (terminal, True)])
def test_stream_is_a_terminal_if_its_descriptor_is_one(make, is_one):
    reader, writer = make()
    with program("print(sys.stderr.fileno(), sys.stderr.isatty())", writer) as done:
        assert done.stdout.read().decode() == f"2 {is_one}\n"
    os.close(reader)
    os.close(writer)


def test_forked_process_neither_waits_nor_repeats_the_backlog():
    reader, writer = pipe()
    text = LINES.format(lines=100, width=999)
    fork = "if pid := os.fork(): os.waitpid(pid, 0)\nprint('end', file=sys.stderr)\n"
    with program(text + fork + "os.write(1, b'forked')\nsys.stdin.read()", writer) as done:
        os.close(writer)
        assert done.stdout.read(10) == b"done" + b"forked"
        done.stdin.close()
        read = text_of(reader).splitlines()
    assert (len(read), read.count("end")) == (102, 2)


def test_gone_reader_is_no_error():
    reader, writer = pipe()
    os.close(reader)
    with program(LINES.format(lines=100, width=999), writer) as done:
        os.close(writer)
        assert done.wait(10) == 0


def test_text_that_the_encoding_lacks_is_written_escaped():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    with program("print('日本 \\udcff')", subprocess.DEVNULL, env=environment) as done:
        assert done.stdout.read() == b"\\u65e5\\u672c \\udcff\n"


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_no_socket_takes_the_place_of_a_closed_descriptor(closed):
    reader, writer = pipe()
    text = f"""
import socket
sock = socket.socket()
read = [os.readlink(f"/proc/self/fd/{{number}}") for number in {closed}]
os.write({writer}, repr([sock.fileno() > 2, *read]).encode())
"""
    redirections = " ".join(f"{number}>&-" for number in closed)
    shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-c", INSTALL + text]
    subprocess.run(shell, cwd=REPOSITORY, pass_fds=[writer], check=True)
    os.close(writer)
    assert text_of(reader) == repr([True, *["/dev/null"] * len(closed)])
