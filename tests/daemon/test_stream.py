import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.daemon.attach import STDERR, STDOUT, Stream
from codapi_flask.streams import Output


def frame(stream, data):
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def ends():
    """Return the daemon's end of a connection, and the stream at the other end."""
    peer, own = socket.socketpair()
    with peer, closing(Stream(own, b"", Output(100), Output(100), own)) as stream:
        yield peer, stream


frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)))


@given(frames, st.lists(st.integers(1, 30), min_size=1), st.integers(0, 60))
def test_stream_reads_frames_split_anywhere(frames, sizes, leftover):
    sent = b"".join(frame(*each) for each in frames)
    peer, own = socket.socketpair()
    with (
        peer,
        closing(Stream(own, sent[:leftover], Output(1 << 20), Output(1 << 20), own)) as stream,
    ):
        rest, i = sent[leftover:], 0
        while rest:
            size = sizes[i % len(sizes)]
            peer.sendall(rest[:size])
            assert stream.read()
            rest, i = rest[size:], i + 1
        for number, output in [(STDOUT, stream.stdout), (STDERR, stream.stderr)]:
            printed = b"".join(data for of, data in frames if of == number)
            assert output.text() == printed.decode("utf-8", "replace")


def test_stream_ends_when_the_connection_is_closed(ends):
    peer, stream = ends
    assert stream.read()
    peer.close()
    assert not stream.read()


def test_stream_ends_when_the_connection_is_reset(ends):
    peer, stream = ends
    # unread data turns the close into a reset
    stream.write(memoryview(b"unread"))
    peer.close()
    assert not stream.read()


def test_stream_caps_stdout_and_stderr_separately(ends):
    peer, stream = ends
    peer.sendall(frame(STDOUT, b"o" * 300) + frame(STDERR, b"e" * 99) + frame(STDOUT, b"more"))
    stream.read()
    assert (stream.stdout.text(), stream.stdout.truncated) == ("o" * 100, True)
    assert (stream.stderr.text(), stream.stderr.truncated) == ("e" * 99, False)


def test_write_to_a_program_not_reading_does_not_block(ends):
    _, stream = ends
    while stream.write(memoryview(bytes(1 << 20))):
        pass


def test_write_to_an_exited_program_drops_the_input(ends):
    peer, stream = ends
    peer.close()
    assert stream.write(memoryview(b"never read")) == len(b"never read")
    stream.end_stdin()


def test_end_stdin_comes_after_the_written_input(ends):
    peer, stream = ends
    assert stream.write(memoryview(b"input")) == 5
    stream.end_stdin()
    assert peer.makefile("rb").read() == b"input"
