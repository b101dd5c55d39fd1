import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.daemon.attach import STDERR, STDOUT, Stream


def frame(stream, data):
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@pytest.fixture
def ends():
    """Return the daemon's end of a connection, and ours as a stream."""
    theirs, ours = socket.socketpair()
    with theirs, closing(Stream(ours, b"", 100, ours)) as stream:
        yield theirs, stream


frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=40)))


@given(frames, st.lists(st.integers(1, 30), min_size=1), st.integers(0, 60))
def test_frames_may_be_split_anywhere_and_come_with_the_head(frames, sizes, leftover):
    sent = b"".join(frame(*each) for each in frames)
    theirs, ours = socket.socketpair()
    with theirs, closing(Stream(ours, sent[:leftover], 1 << 20, ours)) as stream:
        rest, i = sent[leftover:], 0
        while rest:
            size = sizes[i % len(sizes)]
            theirs.sendall(rest[:size])
            assert stream.read()
            rest, i = rest[size:], i + 1
        for number, output in [(STDOUT, stream.stdout), (STDERR, stream.stderr)]:
            printed = b"".join(data for of, data in frames if of == number)
            assert output.text() == printed.decode("utf-8", "replace")


def test_a_stream_is_over_when_the_connection_is_closed(ends):
    theirs, stream = ends
    assert stream.read()
    theirs.close()
    assert not stream.read()


def test_a_stream_is_over_when_the_connection_is_reset(ends):
    theirs, stream = ends
    # what was sent to it and never read makes its end a reset
    stream.write(memoryview(b"unread"))
    theirs.close()
    assert not stream.read()


def test_each_stream_is_cut_on_its_own(ends):
    theirs, stream = ends
    theirs.sendall(frame(STDOUT, b"o" * 300) + frame(STDERR, b"e" * 99) + frame(STDOUT, b"more"))
    stream.read()
    assert (stream.stdout.text(), stream.stdout.truncated) == ("o" * 100, True)
    assert (stream.stderr.text(), stream.stderr.truncated) == ("e" * 99, False)


def test_no_call_waits_for_a_program_that_does_not_read(ends):
    _, stream = ends
    while stream.write(memoryview(bytes(1 << 20))):
        pass


def test_input_to_a_program_that_is_gone_counts_as_taken(ends):
    theirs, stream = ends
    theirs.close()
    assert stream.write(memoryview(b"never read")) == len(b"never read")
    stream.end_stdin()


def test_the_end_of_stdin_comes_after_what_was_written(ends):
    theirs, stream = ends
    assert stream.write(memoryview(b"input")) == 5
    stream.end_stdin()
    assert theirs.makefile("rb").read() == b"input"
