import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.errors import Abandoned, Cancelled
from codapi_flask.streams import Cancel, Output


def read(limit, *pieces):
    output = Output(limit)
    for piece in pieces:
        output.write(piece)
    return output.text(), output.truncated


@pytest.mark.parametrize(
    ("limit", "printed", "text", "truncated"),
    [
        (5, b"", "", False),
        (5, b"hello", "hello", False),
        (5, b"hello!", "hello", True),
        (0, b"", "", False),
        (0, b"x", "", True),
        (3, "aé€".encode(), "aé", True),
        (4, "aé€".encode(), "aé", True),
        (6, "aé€".encode(), "aé€", False),
        # a character that the program itself left unfinished
        (9, "aé€".encode()[:-1], "aé\ufffd", False),
        (9, b"\xff\xfe ok", "\ufffd\ufffd ok", False),
        (2, b"a\xffb", "a\ufffd", True),
        (9, b"a\0b\x1b[31m", "a\0b\x1b[31m", False),
    ],
)
def test_output_is_cut_at_a_character_boundary(limit, printed, text, truncated):
    assert read(limit, printed) == (text, truncated)


@given(st.lists(st.binary(max_size=20)), st.integers(0, 60))
def test_output_does_not_depend_on_its_pieces(pieces, limit):
    assert read(limit, *pieces) == read(limit, b"".join(pieces))


@given(st.text(), st.integers(0, 60))
def test_output_keeps_the_longest_prefix_that_fits(printed, limit):
    text, truncated = read(limit, printed.encode())
    assert printed.startswith(text)
    assert len(text.encode()) <= limit
    assert truncated == (text != printed)
    if truncated:
        assert len(printed[: len(text) + 1].encode()) > limit


def test_output_beyond_the_limit_needs_no_memory():
    output, printed = Output(10), memoryview(bytes(1 << 16))
    tracemalloc.start()
    for _ in range(100):
        output.write(printed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert output.text() == "\0" * 10
    assert peak < 1 << 15


def cancelled():
    raise Cancelled


def abandoned():
    raise Abandoned


@pytest.fixture
def cancel():
    """Return a cancel and the descriptor of its reason."""
    cancel, reason = Cancel(), os.eventfd(1)
    yield cancel, reason
    os.close(reason)


def test_cancel_raises_its_reason(cancel):
    cancel, reason = cancel
    cancel.add(reason, cancelled)
    with pytest.raises(Cancelled):
        cancel.check()
    cancel.remove(reason)
    cancel.check()


def hold(cancel, passed):
    with cancel.held():
        cancel.check()
        passed.append(True)


@pytest.mark.parametrize(
    ("end", "error", "passes"), [(cancelled, Cancelled, True), (abandoned, Abandoned, False)]
)
def test_held_cancel_raises_after_the_block_unless_abandoned(cancel, end, error, passes):
    cancel, reason = cancel
    cancel.add(reason, end)
    passed = []
    with pytest.raises(error):
        hold(cancel, passed)
    assert bool(passed) is passes
    cancel.remove(reason)
    hold(cancel, passed)
