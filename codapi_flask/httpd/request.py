"""A request while it arrives: whether it is complete, or refused already.

It parses only as much of HTTP as that takes; gunicorn's parser checks the request.
"""

from __future__ import annotations

import re

HEAD_MAX = 1 << 16
"""Limit on a head, in bytes."""

CHUNKS_MAX = 2000
"""Limit on the chunks of a body: parsing each of them blocks the event loop."""

NO_START = re.compile(rb"[^\r\n!-~]")
# each matches in linear time: the input is untrusted, and matching blocks the event loop
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)
OLD = re.compile(rb"[\r\n]*[^\r\n]* HTTP/1\.0\r\n")
CHUNK_HEAD = re.compile(rb"([0-9A-Fa-f]{1,256})(?:[ \t]{0,256};[^\r\n]{0,256})?\r\n")
CHUNK_START = re.compile(rb"(?:[0-9A-Fa-f]{1,256}(?:[ \t]{0,256}(?:;[^\r\n]{0,256})?)?\r?)?")
ORIGIN = re.compile(rb"\r\norigin:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)


class RequestBuffer:
    """A request that is being read; `refusal` is its status once it is refused, else 0.

    `is_awaited` belongs to the reader: whether the poller watches the connection.
    """

    def __init__(self, deadline: float, max_body: int) -> None:
        self.deadline, self.data = deadline, bytearray()
        self.refusal, self.wants_continue, self.is_awaited = 0, False, False
        self._max_body = max_body
        self._head, self._is_chunked = b"", False
        self._chunks, self._count = bytearray(), 0
        # an offset in what is left of `data`
        self._end: int | None = None

    @property
    def size(self) -> int:
        """The number of bytes held."""
        return len(self._head) + len(self._chunks) + len(self.data)

    @property
    def origin(self) -> str:
        """The request's `Origin` header, empty without one."""
        # a head that is too large stays in `data`
        origin = ORIGIN.search(self._head or self.data)
        return origin[1].decode() if origin else ""

    @property
    def parts(self) -> tuple[bytes, bytes] | None:
        """Head and body of a complete request; `None` if it is chunked, or more follows it."""
        is_plain = not self._is_chunked and self._end == len(self.data)
        return (self._head, bytes(self.data)) if is_plain else None

    def is_complete(self) -> bool:
        """Whether the request is complete or refused."""
        if not self._head:
            self._read_head()
        if self._head and self._end is None:
            self._read_chunks()
        return bool(self.refusal) or (self._end is not None and len(self.data) >= self._end)

    def request(self) -> bytes:
        """Return the request, and what came after it.

        A chunked body becomes one chunk: gunicorn copies the rest of the body for each. Trailers
        are left out: an error in them would surface only when the application reads.
        """
        if not self._is_chunked:
            return self._head + self.data
        chunk = b"%x\r\n%s\r\n" % (len(self._chunks), self._chunks) if self._chunks else b""
        return self._head + chunk + b"0\r\n\r\n" + self.data[self._end :]

    def _read_head(self) -> None:
        end = self.data.find(b"\r\n\r\n")
        if (len(self.data) if end < 0 else end) > HEAD_MAX:
            self.refusal = 431
        elif end < 0 and _is_no_head(self.data):
            self.refusal = 400
        if end < 0 or self.refusal:
            return
        self._head = bytes(self.data[: end + 4])
        del self.data[: end + 4]
        self.wants_continue = bool(CONTINUE.search(self._head)) and not OLD.match(self._head)
        self._is_chunked = bool(CHUNKED.search(self._head))
        if not self._is_chunked:
            length = LENGTH.search(self._head)
            # 18 digits exceed every limit: more need not be parsed
            self._end = int(length[1].lstrip(b"0")[:18] or b"0") if length else 0
            if self._end > self._max_body:
                self.refusal = 413

    def _read_chunks(self) -> None:
        """Take the complete chunks of a body (RFC 9112, section 7.1)."""
        while chunk := CHUNK_HEAD.match(self.data):
            size, start = int(chunk[1], 16), chunk.end()
            if not size:
                end = self.data.find(b"\r\n\r\n", start - 2)
                self._end = end + 4 if end >= 0 else None
                break
            if len(self._chunks) + min(size, len(self.data) - start) > self._max_body:
                self.refusal = 413
                return
            if len(self.data) < start + size + 2:
                return
            self._count += 1
            ends_well = self.data[start + size : start + size + 2] == b"\r\n"
            if not ends_well or self._count > CHUNKS_MAX:
                self.refusal = 400
                return
            self._chunks += self.data[start : start + size]
            del self.data[: start + size + 2]
        if self._end is not None:
            return
        if chunk and len(self.data) > HEAD_MAX:
            self.refusal = 431
        elif not chunk and not CHUNK_START.fullmatch(self.data):
            self.refusal = 400


def _is_no_head(data: bytearray) -> bool:
    """Whether these bytes cannot begin a request: TLS, for example, or lines without CR."""
    return bool(NO_START.match(data)) or data.count(b"\n") > data.count(b"\r\n")
