"""Input and output of programs."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.support.instance import BOX_DEFAULTS

pytestmark = pytest.mark.docker

MIB = 1 << 20
USERS = ["sandbox", "1234", "1234:5678", "root"]
KINDS_AND_USERS = [
    # root may not run in a box that is reused
    (kind, user)
    for kind in BOX_DEFAULTS
    for user in USERS
    if kind not in ("reused", "preloaded") or user != "root"
]
# printed text: the part kept when noutput is 7, and whether it was cut
CUT = {
    "1234567": ("1234567", False),
    "12345678": ("1234567", True),
    "1234567€": ("1234567", True),
    "1234😀": ("1234", True),
}


@pytest.mark.parametrize("printed", CUT)
def test_output_is_cut_between_characters(run, printed):
    step = run("sh", "-c", f"printf {printed}; printf err >&2", noutput=7).steps[-1]
    kept, is_cut = CUT[printed]
    assert (step.stdout, step.stderr) == (kept, "err")
    assert step.truncated == (("stdout",) if is_cut else ())


def test_streams_are_cut_separately(run):
    step = run("sh", "-c", "yes | head -c 100; yes | head -c 5000 >&2; exit 1").steps[-1]
    assert (step.stdout, step.stderr) == ("y\n" * 50, "y\n" * 2048)
    assert step.truncated == ("stderr",)


@pytest.mark.parametrize("kind", ["warm"])
def test_noutput_of_zero_keeps_the_default(run):
    execution = run("sh", "-c", "yes | head -c 5000; echo err >&2", noutput=0)
    assert (execution.stdout, execution.stderr) == ("y\n" * 2048, "err\n")


def test_output_beyond_the_limit_is_drained_without_memory(run):
    program = f"yes | head -c {200 * MIB} & yes | head -c {200 * MIB} >&2; wait"
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew
    execution = run("sh", "-c", program, timeout=60)
    assert (execution.ok, len(execution.stdout), len(execution.stderr)) == (True, 4096, 4096)
    assert _memory("VmHWM") - before < 50 * MIB


def _memory(field: str) -> int:
    """Return a field of /proc/self/status (proc(5)) in bytes."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10


@pytest.mark.parametrize(
    ("octal", "text"),
    [
        (r"a\377b", "a\ufffdb"),
        (r"a\000b", "a\0b"),
        (r"\033[31mred\033[0m", "\033[31mred\033[0m"),
    ],
)
def test_output_bytes_are_decoded_to_text(run, octal, text):
    execution = run("sh", "-c", f"printf '{octal}'; printf '{octal}' >&2")
    assert (execution.stdout, execution.stderr) == (text, text)


def test_program_that_closes_its_streams_runs_on(run):
    execution = run("sh", "-c", "echo out; exec >&- 2>&-; sleep 0.5; exit 3")
    assert execution.stderr == "out (exit status 3)"
    assert execution.duration >= 500


def test_process_left_holding_the_streams_is_not_awaited(run):
    execution = run("sh", "-c", "setsid sleep 1000 & echo out")
    assert (execution.ok, execution.stdout) == (True, "out\n")
    assert execution.duration < 4500


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_program_reads_the_files_from_stdin(run, size):
    execution = run("wc", "-c", files={"": "x" * size}, stdin=True)
    assert execution.stdout == f"{size}\n"


def test_cat_returns_its_stdin(run):
    text = "".join(f"{number}\n" for number in range(150_000))
    execution = run("cat", files={"": text}, stdin=True, noutput=2 * MIB)
    assert (execution.ok, execution.stdout) == (True, text)


def test_stdin_holds_the_files_in_the_order_of_the_request(run):
    files = {"z": "1", "": "2", "a": "data:;base64,Mw=="}
    assert run("cat", files=files, stdin=True, entry="m").stdout == "123"


@pytest.mark.parametrize("program", ["cat > /dev/null", "exec 0<&-"])
def test_program_prints_more_than_a_pipe_holds_after_stdin(run, program):
    text = f"{program}; head -c 300000 /dev/zero | tr '\\0' x; echo done >&2"
    execution = run("sh", "-c", text, files={"": "x" * 7}, stdin=True, noutput=MIB)
    assert (execution.ok, execution.stdout, execution.steps[-1].stderr) == (
        True,
        "x" * 300_000,
        "done\n",
    )


def test_server_is_idle_while_a_program_sleeps_after_stdin(run):
    start = time.process_time()
    assert run("sh", "-c", "cat > /dev/null; sleep 1", files={"": "text"}, stdin=True).ok
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("program", ["true", "sleep 0.2", "exec <&-; sleep 0.2", "head -c 1"])
def test_program_need_not_read_its_stdin(run, program):
    execution = run("sh", "-c", f"{program} >&2", files={"": "x" * MIB}, stdin=True)
    assert (execution.ok, execution.stdout) == (True, "")


def test_only_the_first_step_reads_the_files(execute):
    read = {"box": "sh", "command": ["cat"], "stdin": True}
    assert execute(read, read, files={"": "text"}).stdout == ""


@pytest.mark.parametrize(
    ("kind", "user"), [("plain", "root"), ("warm", "1234"), ("reused", "1234")]
)
def test_stdin_of_other_steps_is_empty(execute, user):
    step = {"box": "sh", "command": ["cat"], "user": user}
    execution = execute(step, step, before=step, after=step, files={"": "text"})
    assert (execution.ok, execution.stdout) == (True, "")


@pytest.mark.parametrize(("kind", "user"), KINDS_AND_USERS)
def test_streams_can_be_opened_by_name(run, user):
    program = "cat /dev/stdin > /dev/stdout; echo err > /dev/stderr"
    execution = run("sh", "-c", program, user=user, stdin=True, files={"": "in"})
    assert (execution.stdout, execution.stderr) == ("in", "err\n")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain"])
def test_output_of_a_quick_exec_is_never_lost(execute, service):
    step = {"box": service, "action": "exec", "command": ["echo", ":name"]}
    for _ in range(200):
        execution = execute(step)
        assert execution.stdout == f"{execution.id}\n"


@pytest.mark.parametrize("kind", ["plain"])
def test_exec_reads_and_prints_like_a_run(execute, service):
    program = "cat /dev/stdin; echo err > /dev/stderr; exit 3"
    step = {"box": service, "action": "exec", "command": ["sh", "-c", program], "stdin": True}
    execution = execute(step, files={"": "x" * MIB})
    assert execution.stderr == "x" * 4096 + "err (exit status 3)"
