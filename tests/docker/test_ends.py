"""How programs end, and the answers that clients read."""

from __future__ import annotations

import time

import pytest

from tests.support.instance import KIND_TOLD, PYTHON
from tests.support.programs import Sleep

pytestmark = pytest.mark.docker

OOM = "out of memory (64 MiB)\n"
EAT = "tail /dev/zero"

# program: the text that the client reads
OK = {
    "true": "",
    "printf 'no newline'": "no newline",
    "printf ' \\n two lines \\n\\n'": " \n two lines \n\n",
    f"{EAT}; echo survived": "survived\n",
}
FAILED = {
    "exit 1": "exit status 1",
    "exit 3": "exit status 3",
    "exit 255": "exit status 255",
    "exit 127": "exit status 127",
    "echo out; exit 3": "out (exit status 3)",
    "echo err >&2; exit 3": "err (exit status 3)",
    "echo err >&2; echo out; exit 3": "out\nerr (exit status 3)",
    "echo out; kill -TERM $$": "out (exit status 143)",
    "kill -INT $$": "exit status 130",
    "kill -KILL $$": "exit status 137",
    "kill -SEGV $$": "exit status 139",
    f"exec {EAT}": f"{OOM}exit status 137",
    f"echo out; exec {EAT}": f"{OOM}out (exit status 137)",
}
# program that cannot be started: the reason
UNSTARTABLE = {
    "nope": "not found (exit status 127)",
    "/nope/nope": "not found (exit status 127)",
    "--help": "not found (exit status 127)",
    "": "not found (exit status 127)",
    "/etc/passwd/x": "Not a directory (exit status 127)",
    "/etc": "Permission denied (exit status 126)",
    "/etc/passwd": "Permission denied (exit status 126)",
}


def test_box_is_of_the_tested_kind(run, kind):
    step = run("sh", "-c", "true").steps[-1]
    assert (step.kind, step.preloaded) == (KIND_TOLD.get(kind, kind), kind == "preloaded")


@pytest.mark.parametrize("kind", ["warm"])
def test_unsafe_box_without_init_has_not_fallen_back(run):
    step = run("true", box={"cap_add": ["ALL"]}).steps[-1]
    assert (step.kind, step.fell_back) == ("fresh", False)


@pytest.mark.parametrize("program", OK)
def test_successful_program_is_answered_with_its_output(run, program):
    execution = run("sh", "-c", f"exec 2>&-; {program}")
    assert (execution.ok, execution.stdout, execution.stderr) == (True, OK[program], "")


def test_stdout_and_stderr_are_separate(run):
    execution = run("sh", "-c", "echo out; echo err >&2; echo more")
    assert (execution.ok, execution.stdout, execution.stderr) == (True, "out\nmore\n", "err\n")


@pytest.mark.parametrize("program", FAILED)
def test_failed_program_is_answered_with_all_its_output(run, program):
    execution = run("sh", "-c", program)
    assert (execution.ok, execution.stdout, execution.stderr) == (False, "", FAILED[program])


@pytest.mark.parametrize("kind", ["cold", "warm", "reused"])
def test_child_out_of_memory_is_reported_when_its_program_fails(run):
    assert run("sh", "-c", f"{EAT}; exit 3").stderr == f"{OOM}Killed (exit status 3)"


def test_details_keep_the_streams_of_a_failed_program_apart(run):
    step = run("sh", "-c", "echo err >&2; echo out; kill -TERM $$").steps[-1]
    assert (step.stdout, step.stderr) == ("out\n", "err\n")
    assert (step.exit_code, step.signal, step.reason) == (143, 15, "signal")


@pytest.mark.parametrize("program", UNSTARTABLE)
def test_program_that_cannot_be_started_is_named(run, program):
    execution = run(program)
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr == f"{program}: {UNSTARTABLE[program]}"


def test_program_over_its_timeout_is_killed(run):
    sleep = Sleep(1000)
    start = time.monotonic()
    execution = run("sh", "-c", f"echo out; {sleep.text}", timeout=0.5)
    assert 0.5 < time.monotonic() - start < 10
    assert (execution.ok, execution.stdout, execution.stderr) == (
        False,
        "",
        "code execution timeout",
    )
    assert not sleep.runs()


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("trap '' TERM INT HUP; sleep 1000 & wait", id="ignores signals"),
        pytest.param("setsid sleep 1000 & setsid sleep 1000", id="leaves its session"),
        pytest.param("kill -STOP $$", id="stops itself"),
        pytest.param("exec >&- 2>&-; sleep 1000", id="closes its streams"),
        pytest.param("yes & yes >&2", id="prints"),
    ],
)
def test_program_cannot_escape_its_timeout(run, program):
    execution = run("sh", "-c", program, timeout=0.5)
    assert execution.stderr == "code execution timeout"
    assert execution.duration < 10_000


# the ulimit cpu would count the time before a run
LIMITED_KINDS = pytest.mark.parametrize("kind", ["plain", "cold", "warm", "reused"])

# program, timeout, ulimit: how it ends
SPIN = "while :; do :; done"
PROCESSOR = [
    (f"exec sh -c '{SPIN}'", 20, "cpu=1", (137, 9, "out of processor time (1 s)\nexit status 137")),
    (SPIN, 20, "cpu=1:5", (152, 24, "out of processor time (1 s)\nexit status 152")),
    (f"echo a; sh -c '{SPIN}'", 20, "cpu=1", (137, None, "out of processor time (1 s)\na\n")),
]


@LIMITED_KINDS
@pytest.mark.parametrize(("program", "timeout", "limit", "end"), PROCESSOR, ids=str)
def test_program_over_its_processor_time_is_told_so(run, kind, program, timeout, limit, end):
    execution = run("sh", "-c", program, timeout=timeout, box={"ulimit": [limit]})
    status, signal, text = end
    step = execution.steps[-1]
    assert (step.reason, step.exit_code) == ("cpu", status)
    # a plain container does not tell a signal from its status
    assert step.signal == signal or kind == "plain"
    assert execution.stderr.startswith(text)


@LIMITED_KINDS
def test_program_that_kills_itself_is_not_over_its_processor_time(run):
    step = run("sh", "-c", "kill -9 $$", box={"ulimit": ["cpu=5"]}).steps[-1]
    assert (step.reason, step.note) == ("signal", "")


FILL = """
import os, sys, time
names = ("memory/memory.usage_in_bytes", "memory.current")
usage = next(path for path in (f"/sys/fs/cgroup/{name}" for name in names) if os.path.exists(path))
held = []
while int(open(usage).read()) < int(sys.argv[1]) << 20:
    held.append(bytearray(1 << 18))
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("used", "told"), [(62, ", close to its memory limit (64 MiB)"), (40, "")], ids=str
)
def test_timeout_close_to_the_memory_limit_is_told(run, used, told):
    execution = run("python", "-c", FILL, str(used), box=PYTHON, timeout=2)
    assert execution.stderr == f"code execution timeout{told}"
    assert execution.steps[-1].reason == "timeout"


@pytest.mark.parametrize("kind", ["plain"])
def test_timeout_of_an_exec_close_to_the_memory_limit_is_told(execute):
    step = {"action": "exec", "box": ":name", "command": ["python", "-c", FILL, "62"], "timeout": 2}
    before = {"box": "python", "command": ["sleep", "60"], "detach": True}
    execution = execute(step, before=before, boxes={"python": PYTHON})
    assert execution.stderr == "code execution timeout, close to its memory limit (64 MiB)"


def test_duration_is_that_of_the_execution(run):
    assert 300 <= run("sleep", "0.3").duration < 10_000


def test_program_is_not_process_1_of_its_box(run):
    assert int(run("sh", "-c", "echo $$").stdout) > 1
