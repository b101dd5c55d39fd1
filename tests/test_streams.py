import math
import os
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codapi_flask.errors import Abandoned, Cancelled
from codapi_flask.live import SEND_INTERVAL, Live
from codapi_flask.models import Printed, StepBegan
from codapi_flask.streams import Cancel, Output, pump
from tests.support.server import wait_for


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


def live(window=math.inf):
    """Return a live stream, and the list of its events."""
    events = []
    return Live(events.append, window), events


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=9))))
def test_live_sends_what_is_printed_in_whole_characters(printed):
    stream, events = live()
    stream.begin(2)
    for name, data in printed:
        stream.write(name, data)
        stream._due = 0
        stream.flush()
    stream.end([])
    assert events.pop(0) == StepBegan(2)
    for name in ("stdout", "stderr"):
        text = "".join(event.text for event in events if event.stream == name)
        assert text == b"".join(data for of, data in printed if of == name).decode(
            "utf-8", "replace"
        )


def test_live_sends_the_first_output_at_once_and_the_next_together():
    stream, events = live()
    stream.begin(0)
    assert stream.flush() == math.inf
    for text in (b"a", b"b", b"c"):
        stream.write("stdout", text)
        left = stream.flush()
    assert events == [StepBegan(0), Printed(0, "stdout", "a")]
    assert 0 < left <= SEND_INTERVAL
    wait_for(lambda: stream.flush() == math.inf)
    assert events[2:] == [Printed(0, "stdout", "bc")]


def test_live_tells_of_a_step_once_its_program_has_started():
    stream, events = live()
    stream.begin(0)
    assert events == []
    for _ in range(2):
        stream.flush()
        assert events == [StepBegan(0)]
    # the step had no program
    stream.begin(1, run=2)
    stream.end([])
    assert events[1:] == [StepBegan(1, 2)]


def test_live_leaves_out_a_character_that_was_cut():
    stream, events = live()
    stream.begin(0)
    stream.write("stdout", "a日".encode()[:-1])
    stream.write("stderr", "a日".encode()[:-1])
    stream.end(["stdout"])
    assert events[1:] == [Printed(0, "stdout", "a"), Printed(0, "stderr", "a\ufffd")]


class Pipe:
    """A source that reads a pipe into a live stream."""

    def __init__(self, live):
        self._end, self.program_end = os.pipe()
        self._output = Output(1 << 30, listener=lambda data: live.write("stdout", data))

    def fileno(self):
        return self._end

    def read(self):
        data = os.read(self._end, 1000)
        self._output.write(data)
        return bool(data)


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "alone"])
def test_pump_leaves_output_in_the_pipe_until_it_is_acknowledged(beside):
    sent, reason, end = [], os.eventfd(0), os.eventfd(0)
    stream = Live(sent.append, 2500)
    pipe, cancel, answer = Pipe(stream), Cancel(), Ended(end)
    os.write(pipe.program_end, b"x" * 9000)

    def acknowledge():
        os.eventfd_read(reason)
        stream.acknowledge(3000)

    cancel.add(reason, acknowledge)
    stream.begin(0)
    sources = [pipe, answer] if beside else [pipe]
    assert not pump(cancel, sources, None, b"", time.monotonic() + 0.2, live=stream)
    stream._due = 0
    stream.flush()
    first = sum(len(event.text) for event in sent[1:])
    assert 2500 <= first < 4500
    os.eventfd_write(reason, 1)
    assert not pump(cancel, sources, None, b"", time.monotonic() + 0.2, live=stream)
    stream.end([])
    assert first < sum(len(event.text) for event in sent[1:]) < 8000
    # what a dead program has left in its pipe is read in any case
    os.close(pipe.program_end)
    stream.begin(1)
    pump(Cancel(), sources, None, b"", time.monotonic() + 0.2, live=stream)
    stream.end([])
    assert sum(len(event.text) for event in sent if isinstance(event, Printed)) == 9000
    for descriptor in (reason, end, pipe.fileno()):
        os.close(descriptor)


class Ended:
    """A source that never ends."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def fileno(self):
        return self._descriptor

    def read(self):
        return True
