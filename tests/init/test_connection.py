"""The worker's end of the connection, against a box that the test plays."""

from __future__ import annotations

import array
import os
import select
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codapi_flask.init import InitConnection, Listener, ResetDone, RunDone, Stage
from codapi_flask.init.answers import ANSWER, VERSION

HELLO = ANSWER.pack(ord("H"), 0, 0, VERSION, 0, 0, 0, 0)
DONE = ANSWER.pack(ord("D"), 0, 0, 3, 1, 2, 3, 0)
CLEAN = ANSWER.pack(ord("C"), 0, 0, 0, 1, 0, 0, 0)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "program").write_text("program")
    return tmp_path / "program"


@pytest.fixture
def listener(tmp_path: Path, program: Path) -> Iterator[Listener]:
    listener = Listener(tmp_path / "box", program)
    yield listener
    listener.close()


@pytest.fixture
def pair() -> Iterator[tuple[InitConnection, socket.socket]]:
    own, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    init = InitConnection(own)
    yield init, peer
    init.close()
    peer.close()


def connect(listener: Listener, greeting: bytes | None = HELLO) -> socket.socket:
    box = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(listener.directory, os.O_PATH)
    box.connect(f"/proc/self/fd/{directory}/socket")
    os.close(directory)
    if greeting is not None:
        box.send(greeting)
    return box


def soon() -> float:
    return time.monotonic() + 5


def test_box_sending_hello_is_accepted(listener: Listener) -> None:
    with connect(listener) as box:
        assert select.select([listener], [], [], 5)[0]
        init = listener.accept(soon())
        box.send(DONE)
        assert init.receive() == RunDone(3, None, Stage.NONE, 0, 1, 2, 3, 0, False, False)
        init.close()
        assert box.recv(1) == b""


def test_listener_modes_do_not_depend_on_the_umask(tmp_path: Path, program: Path) -> None:
    umask = os.umask(0o077)
    try:
        listener = Listener(tmp_path / "box", program)
    finally:
        os.umask(umask)
    directory = listener.directory
    modes = [directory, directory / "socket", directory / "init"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in modes] == [0o711, 0o666, 0o555]
    assert (directory / "init").read_text() == "program"
    listener.close()


def test_listener_works_at_a_long_path(tmp_path: Path, program: Path) -> None:
    directory = tmp_path / ("a" * 200)
    directory.mkdir()
    listener = Listener(directory / "box", program)
    with connect(listener):
        listener.accept(soon()).close()


def test_listener_accepts_one_box_and_removes_its_directory(listener: Listener) -> None:
    with connect(listener), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
        directory = os.open(listener.directory, os.O_PATH)
        init = listener.accept(soon())
        with pytest.raises(FileNotFoundError):
            second.connect(f"/proc/self/fd/{directory}/socket")
        assert not listener.directory.exists()
        os.close(directory)
        init.close()


@pytest.mark.parametrize("greeting", [b"", b"x", DONE, HELLO.replace(b"\3", b"\2")])
def test_box_with_a_wrong_hello_is_refused(listener: Listener, greeting: bytes) -> None:
    with connect(listener, greeting), pytest.raises(ConnectionError):
        listener.accept(soon())


def test_listener_without_a_box_times_out(listener: Listener) -> None:
    with pytest.raises(TimeoutError):
        listener.accept(time.monotonic() + 0.01)
    assert not listener.directory.exists()


def test_silent_box_times_out(listener: Listener) -> None:
    with connect(listener, None), pytest.raises(TimeoutError):
        listener.accept(time.monotonic() + 0.01)


def test_run_sends_strings_and_descriptors(pair: tuple[InitConnection, socket.socket]) -> None:
    init, box = pair
    read, write = os.pipe()
    init.run(["sh", "-c", "é"], "joe", (read, write, write), ["A=b"])
    message, control, _, _ = box.recvmsg(65536, socket.CMSG_SPACE(12))
    assert message == b"R\0\3\0\1\0joe\0sh\0-c\0\xc3\xa9\0A=b\0"
    files = array.array("i", control[0][2])
    inodes = [os.fstat(file).st_ino for file in files]
    assert inodes == [os.fstat(file).st_ino for file in (read, write, write)]
    for file in (*files, read, write):
        os.close(file)


def test_kill_and_reset_send_single_letters(pair: tuple[InitConnection, socket.socket]) -> None:
    init, box = pair
    init.kill()
    init.reset()
    assert [box.recv(9), box.recv(9)] == [b"K", b"C"]


@pytest.mark.parametrize(
    ("argv", "user", "env"),
    [
        ([], "joe", []),
        (["a\0b"], "joe", []),
        (["a"], "jo\0e", []),
        (["a"], "joe", ["A=\0"]),
        (["a"] * 1025, "joe", []),
        (["a"], "joe", ["A=b"] * 1025),
        (["a" * 65536], "joe", []),
    ],
)
def test_run_with_invalid_arguments_raises(
    pair: tuple[InitConnection, socket.socket], argv: list[str], user: str, env: list[str]
) -> None:
    with pytest.raises(ValueError, match="argument"):
        pair[0].run(argv, user, (0, 1, 2), env)


def test_largest_run_is_sent(pair: tuple[InitConnection, socket.socket]) -> None:
    init, box = pair
    init.run(["a" * (65536 - len(b"R\0\1\0\0\0joe\0\0"))], "joe", (0, 1, 2))
    assert len(box.recv(1 << 20)) == 65536


def test_receive_without_an_answer_returns_none(pair: tuple[InitConnection, socket.socket]) -> None:
    init, box = pair
    assert init.receive() is None
    box.send(CLEAN)
    assert init.receive() == ResetDone(Stage.NONE, 0, 1)
    box.send(HELLO)
    with pytest.raises(ConnectionError, match="twice"):
        init.receive()


def test_disconnected_box_raises(pair: tuple[InitConnection, socket.socket]) -> None:
    init, box = pair
    box.close()
    with pytest.raises(ConnectionError):
        init.receive()
    with pytest.raises(ConnectionError):
        init.kill()


def test_box_not_reading_its_messages_raises(
    pair: tuple[InitConnection, socket.socket],
) -> None:
    def flood() -> None:
        for _ in range(10000):
            pair[0].kill()

    with pytest.raises(ConnectionError, match="takes no messages"):
        flood()
