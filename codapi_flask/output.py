"""Cuts what programs print, while it is read."""

from __future__ import annotations

import codecs


class Output:
    """Keeps the first `limit` bytes of a stream and forgets the others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.truncated = False

    def write(self, data: bytes | memoryview) -> None:
        """Take what came next."""
        room = self._limit - len(self._kept)
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        self._kept += data

    def text(self) -> str:
        """Return the text so far, cut at a character's boundary; invalid UTF-8 is U+FFFD."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return decoder.decode(bytes(self._kept), final=not self.truncated)
