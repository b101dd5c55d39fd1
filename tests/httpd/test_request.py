import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.httpd.request import CHUNKS_MAX, HEAD_MAX, RequestBuffer

MAX_BODY = 100
SIZED = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(*pieces, extension=b"", trailer=b""):
    framed = (b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"".join(framed) + b"0\r\n" + trailer + b"\r\n"


def heard(request):
    """Return how many bytes of a request are heard, one by one, and with what it is refused."""
    incoming = RequestBuffer(0, MAX_BODY)
    for count, byte in enumerate(request, 1):
        incoming.data.append(byte)
        if incoming.is_complete():
            return count, incoming.refusal
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
    assert heard(request_ + NEXT) == (len(request_), 0)


PIECES = st.lists(st.binary(min_size=1, max_size=9), max_size=5)


@given(PIECES)
def test_a_body_in_chunks_is_complete_with_its_last_byte(pieces):
    request = CHUNKED + chunks(*pieces)
    assert heard(request + NEXT) == (len(request), 0)


@given(PIECES, st.integers(0, 200))
def test_a_body_in_chunks_is_passed_on_in_one(pieces, split):
    request = CHUNKED + chunks(*pieces) + NEXT
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += request[:split]
    incoming.is_complete()
    incoming.data += request[split:]
    assert incoming.is_complete()
    assert incoming.request() == CHUNKED + chunks(*filter(None, [b"".join(pieces)])) + NEXT
    assert incoming.size <= len(request)


@pytest.mark.parametrize(
    "request_",
    [SIZED.format(3).encode() + b"abc" + NEXT, b"GET / HTTP/1.1\r\n\r\n" + NEXT, b"\r\n" * 3],
)
def test_any_other_request_is_passed_on_as_it_is(request_):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += request_
    assert incoming.is_complete()
    assert incoming.request() == request_


@pytest.mark.parametrize("size", [str(MAX_BODY + 1), "9" * 18, "9" * 5000])
def test_who_announces_too_large_a_body_is_not_heard(size):
    head = SIZED.format(size).encode()
    assert heard(head) == (len(head), 413)


def test_zeros_do_not_make_a_length_large():
    request = SIZED.format("0" * 30 + "5").encode() + b"hello"
    assert heard(request) == (len(request), 0)


@pytest.mark.parametrize(
    "line", [b"Content-Length: %sx", b"Expect: %s1", b"Origin: %s\xe9", b"Transfer-Encoding: %s"]
)
def test_a_long_field_takes_no_long_time(line):
    # squared, it would be minutes
    head = b"POST /v1/exec HTTP/1.1\r\n" + line % (b"0" * 60_000) + b"\r\n\r\n"
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += head
    assert incoming.is_complete()
    assert (incoming.request(), incoming.origin) == (head, "")


def test_zeros_do_not_make_a_chunk_large_or_small():
    request = CHUNKED + b"0" * 100 + b"5\r\nhello\r\n" + b"0" * 100 + b"\r\n\r\n"
    assert heard(request + NEXT) == (len(request), 0)


def test_a_body_that_grows_too_large_is_not_heard_to_its_end():
    half = chunks(bytes(60)).removesuffix(b"0\r\n\r\n")
    head = CHUNKED + half + b"3c\r\n"
    assert heard(head + bytes(60)) == (len(head) + 41, 413)


def test_a_head_without_end_is_not_heard_to_its_end():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"x" * HEAD_MAX
    assert not incoming.is_complete()
    incoming.data += b"x"
    assert incoming.is_complete()
    assert incoming.refusal == 431


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"\0", 1),
        (b" GET / HTTP/1.1\r\n", 1),
        (b"GET / HTTP/1.1\nHost: a\n\n", 15),
        (b"GET / HTTP/1.1\r\nHost: a\n", 24),
        (b"\r\n\n", 3),
    ],
    ids=["TLS", "NUL", "space", "line feed", "second line feed", "line feed before"],
)
def test_what_begins_no_request_is_not_waited_for(data, count):
    assert heard(data) == (count, 400)


@pytest.mark.parametrize("data", [b"\r", b"\r\n", b"\r\nGET /", b"GET / HTTP/1.1\r", b"g\xff"])
def test_what_may_begin_a_request_is_waited_for(data):
    assert heard(data) is None


def test_too_large_a_head_is_refused_even_when_it_is_all_there():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"x" * (HEAD_MAX + 1) + b"\r\n\r\n"
    assert incoming.is_complete()
    assert incoming.refusal == 431


def test_trailers_are_left_out():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += CHUNKED + chunks(b"a", trailer=b"no trailer\r\n") + NEXT
    assert incoming.is_complete()
    assert incoming.request() == CHUNKED + chunks(b"a") + NEXT


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"x" * 301, 400),
        (b"5;" + b"x" * 300, 400),
        (b"x\r\n", 400),
        (b"0x5\r\nhello\r\n", 400),
        (b"5zz\r\nhello\r\n", 400),
        (b"5 \r\nhello\r\n", 400),
        (b"5\n", 400),
        (b"5\r\nhelloworld", 400),
        (b"5\r\nhello\n\n", 400),
        (b"1\r\nx\r\n" * (CHUNKS_MAX + 1), 400),
        (b"0\r\n" + b"A: b\r\n" * HEAD_MAX, 431),
    ],
)
def test_what_is_not_in_chunks_is_not_waited_for(body, refusal):
    incoming = RequestBuffer(0, 1 << 20)
    incoming.data += CHUNKED + body
    assert incoming.is_complete()
    assert incoming.refusal == refusal


@pytest.mark.parametrize(
    ("line", "origin"),
    [
        ("Origin: https://a.example", "https://a.example"),
        ("origin:\thttp://b:1 ", "http://b:1"),
        ("X-Origin: https://a.example", ""),
        ("Origin: \xe9", ""),
    ],
)
def test_the_page_that_asks_is_known(line, origin):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += SIZED.format(5).replace("Host: a", line).encode("latin-1")
    assert not incoming.is_complete()
    assert incoming.origin == origin


@given(st.binary(), st.integers(0, 200))
def test_whatever_comes_is_complete_in_the_end_or_waited_for(data, split):
    for head in (b"", CHUNKED, SIZED.format(9).encode()):
        incoming = RequestBuffer(0, MAX_BODY)
        incoming.data += head + data[:split]
        first = incoming.is_complete()
        incoming.data += data[split:]
        assert incoming.is_complete() >= first


@pytest.mark.parametrize(
    ("line", "wants"),
    [("Expect: 100-continue", True), ("expect:100-Continue", True), ("A: b", False)],
)
def test_it_is_known_who_waits_for_leave_to_send(line, wants):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += re.sub("Host: a", line, SIZED.format(5)).encode()
    assert not incoming.is_complete()
    assert incoming.wants_continue is wants


def test_an_old_client_does_not_wait_for_leave():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert not incoming.is_complete()
    assert not incoming.wants_continue


def test_what_a_field_says_of_versions_is_no_matter():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += (
        b"POST / HTTP/1.1\r\nVia: HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
    assert not incoming.is_complete()
    assert incoming.wants_continue


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (SIZED.format(5).encode() + b"hello", (SIZED.format(5).encode(), b"hello")),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"")),
        (SIZED.format(5).encode() + b"hello" + NEXT, None),
        (CHUNKED + chunks(b"hello"), None),
    ],
)
def test_a_request_that_is_alone_and_not_in_chunks_has_two_parts(data, parts):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += data
    assert incoming.is_complete()
    assert incoming.parts == parts
