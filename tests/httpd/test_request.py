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
    """Feed a request byte by byte; return the count that completes it, and its refusal."""
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
def test_request_is_complete_at_its_last_byte(request_):
    assert heard(request_ + NEXT) == (len(request_), 0)


PIECES = st.lists(st.binary(min_size=1, max_size=9), max_size=5)


@given(PIECES)
def test_chunked_body_is_complete_at_its_last_byte(pieces):
    request = CHUNKED + chunks(*pieces)
    assert heard(request + NEXT) == (len(request), 0)


@given(PIECES, st.integers(0, 200))
def test_request_buffer_merges_chunks_into_one(pieces, split):
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
def test_request_without_chunks_is_passed_on_unchanged(request_):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += request_
    assert incoming.is_complete()
    assert incoming.request() == request_


@pytest.mark.parametrize("size", [str(MAX_BODY + 1), "9" * 18, "9" * 5000])
def test_announced_body_over_the_limit_is_refused_at_the_head(size):
    head = SIZED.format(size).encode()
    assert heard(head) == (len(head), 413)


def test_content_length_with_leading_zeros_is_accepted():
    request = SIZED.format("0" * 30 + "5").encode() + b"hello"
    assert heard(request) == (len(request), 0)


@pytest.mark.parametrize(
    "line", [b"Content-Length: %sx", b"Expect: %s1", b"Origin: %s\xe9", b"Transfer-Encoding: %s"]
)
def test_long_field_value_is_parsed_in_linear_time(line):
    # quadratic time would be minutes
    head = b"POST /v1/exec HTTP/1.1\r\n" + line % (b"0" * 60_000) + b"\r\n\r\n"
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += head
    assert incoming.is_complete()
    assert (incoming.request(), incoming.origin) == (head, "")


def test_chunk_size_with_leading_zeros_is_accepted():
    request = CHUNKED + b"0" * 100 + b"5\r\nhello\r\n" + b"0" * 100 + b"\r\n\r\n"
    assert heard(request + NEXT) == (len(request), 0)


def test_chunked_body_growing_past_the_limit_is_refused():
    half = chunks(bytes(60)).removesuffix(b"0\r\n\r\n")
    head = CHUNKED + half + b"3c\r\n"
    assert heard(head + bytes(60)) == (len(head) + 41, 413)


def test_unfinished_head_over_the_limit_is_refused():
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
def test_invalid_first_bytes_are_refused_at_once(data, count):
    assert heard(data) == (count, 400)


@pytest.mark.parametrize("data", [b"\r", b"\r\n", b"\r\nGET /", b"GET / HTTP/1.1\r", b"g\xff"])
def test_partial_request_line_is_incomplete(data):
    assert heard(data) is None


def test_complete_head_over_the_limit_is_refused():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"x" * (HEAD_MAX + 1) + b"\r\n\r\n"
    assert incoming.is_complete()
    assert incoming.refusal == 431


def test_trailers_are_dropped():
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
def test_malformed_chunks_are_refused(body, refusal):
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
def test_origin_is_read_from_its_header(line, origin):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += SIZED.format(5).replace("Host: a", line).encode("latin-1")
    assert not incoming.is_complete()
    assert incoming.origin == origin


def test_origin_of_a_too_large_head_is_known():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"GET / HTTP/1.1\r\nOrigin: https://a.example\r\nA: " + b"x" * HEAD_MAX
    assert incoming.is_complete()
    assert (incoming.refusal, incoming.origin) == (431, "https://a.example")


@given(st.binary(), st.integers(0, 200))
def test_request_buffer_once_complete_stays_complete(data, split):
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
def test_expect_header_sets_wants_continue(line, wants):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += re.sub("Host: a", line, SIZED.format(5)).encode()
    assert not incoming.is_complete()
    assert incoming.wants_continue is wants


def test_http_1_0_client_wants_no_continue():
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    assert not incoming.is_complete()
    assert not incoming.wants_continue


def test_version_inside_a_header_is_ignored():
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
def test_parts_are_set_for_a_single_unchunked_request(data, parts):
    incoming = RequestBuffer(0, MAX_BODY)
    incoming.data += data
    assert incoming.is_complete()
    assert incoming.parts == parts
