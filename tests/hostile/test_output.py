"""Programs that print too much, too slowly, or imitate the server."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

ENDLESS = {
    "both streams": "yes & yes >&2",
    "no newline": "tr '\\0' x < /dev/zero",
    "nothing but newlines": "yes ''",
    "drop by drop": "while :; do printf x; sleep 0.05; done",
    "drop by drop on both streams": "while :; do printf x; printf x >&2; done",
    "from all processes": "for i in $(seq 40); do yes $i & done; wait",
    "through its own descriptors": "cat /dev/zero > /proc/self/fd/1",
}
# octal, as a program prints it: the answer's text
FAKES = {
    r"\002\000\000\000\000\000\000\004fake": "\2\0\0\0\0\0\0\4fake",  # a frame of Docker's stream
    r"[FATAL tini (7)] exec x failed: x\n": "[FATAL tini (7)] exec x failed: x\n",
    r"code execution timeout": "code execution timeout",
    r'", "ok": false, "x": "': '", "ok": false, "x": "',
    r"\033]0;title\007\033[2J\033[8m\r": "\033]0;title\007\033[2J\033[8m\r",
    r"\377\376\000\300\200\n": "\ufffd\ufffd\0\ufffd\ufffd\n",
    r"\342\200\256\342\200\213": "\u202e\u200b",
}


@pytest.mark.parametrize("program", ENDLESS)
def test_endless_output_ends_at_the_timeout(attack, program):
    execution = attack("sh", "-c", ENDLESS[program])
    answer = execution.ok, execution.stdout, execution.stderr
    assert answer == (False, "", "code execution timeout")


def test_line_of_any_length_is_cut(attack):
    program = "head -c 100000000 /dev/zero | tr '\\0' x"
    execution = attack("sh", "-c", program, timeout=20, noutput=5000)
    assert (execution.ok, execution.stdout) == (True, "x" * 5000)


@pytest.mark.parametrize("printed", FAKES)
def test_output_that_imitates_the_server_is_only_output(attack, printed):
    execution = attack("printf", printed)
    assert (execution.ok, execution.stdout, execution.stderr) == (True, FAKES[printed], "")
