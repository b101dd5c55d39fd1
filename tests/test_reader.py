import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.reader import HEAD_MAX, Incoming

MAX_BODY = 100
SIZED = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(*pieces, extension=b"", trailer=b""):
    framed = (b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"".join(framed) + b"0\r\n" + trailer + b"\r\n"


def heard(request):
    """Return how many bytes of a request come before it counts as complete, one by one."""
    incoming = Incoming(0, MAX_BODY)
    for count, byte in enumerate(request, 1):
        incoming.data.append(byte)
        if incoming.is_complete():
            return count, incoming.is_too_large
    return None


NEXT = b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        SIZED.format(0).encode(),
        SIZED.format(MAX_BODY).encode() + bytes(MAX_BODY),
        SIZED.format("\t 5 ").replace("Content-Length", "content-LENGTH").encode() + b"hello",
        CHUNKED + chunks(),
        CHUNKED + chunks(b"hello", b"w" * 60, extension=b";a=b"),
        CHUNKED + chunks(b"0\r\n\r\n", trailer=b"A: 1\r\nB: 2\r\n"),
    ],
)
def test_a_request_is_complete_with_its_last_byte(request_):
    assert heard(request_ + NEXT) == (len(request_), False)


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=5))
def test_a_body_in_chunks_is_complete_with_its_last_byte(pieces):
    request = CHUNKED + chunks(*pieces)
    assert heard(request + NEXT) == (len(request), False)


def test_who_announces_too_large_a_body_is_not_heard():
    head = SIZED.format(MAX_BODY + 1).encode()
    assert heard(head) == (len(head), True)


def test_a_body_that_grows_too_large_is_not_heard_to_its_end():
    assert heard(CHUNKED + chunks(bytes(1000))) == (len(CHUNKED) + MAX_BODY + 1, True)


def test_a_head_without_end_is_not_heard_to_its_end():
    incoming = Incoming(0, MAX_BODY)
    incoming.data += b"x" * HEAD_MAX
    assert not incoming.is_complete()
    incoming.data += b"x"
    assert incoming.is_complete()


def test_what_is_not_in_chunks_is_not_waited_for():
    incoming = Incoming(0, 1 << 20)
    incoming.data += CHUNKED + b"x" * 1000
    assert incoming.is_complete()


@given(st.binary(), st.integers(0, 200))
def test_whatever_comes_is_complete_in_the_end_or_waited_for(data, split):
    for head in (b"", CHUNKED, SIZED.format(9).encode()):
        incoming = Incoming(0, MAX_BODY)
        incoming.data += head + data[:split]
        first = incoming.is_complete()
        incoming.data += data[split:]
        assert incoming.is_complete() >= first


@pytest.mark.parametrize(
    ("line", "wants"),
    [("Expect: 100-continue", True), ("expect:100-Continue", True), ("A: b", False)],
)
def test_it_is_known_who_waits_for_leave_to_send(line, wants):
    incoming = Incoming(0, MAX_BODY)
    incoming.data += re.sub("Host: a", line, SIZED.format(5)).encode()
    assert not incoming.is_complete()
    assert incoming.wants_continue is wants
