"""The input of a request: the stdin and args of the last step, and its runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from codapi_flask.models import Execution, Input
from tests.support.instance import PYTHON, docker
from tests.support.programs import Sleep
from tests.support.server import wait_for

pytestmark = pytest.mark.docker

MIB = 1 << 20
ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"
HOSTILE = [
    *("-c", "--help", "--", "-", "-i", "", " ", "-c import os", "--user=root", "=", "@file"),
    *("$(id)", "`id`", "${PATH}", "$PATH", "%PATH%", "*", "~", "!!", "a;b", "a|b", "a&b", "a>b"),
    *("a'b", 'a"b', "\\", "\\n", "'; id #", "\n", "\r\n", "\t", "\x1b[2J", "\x7f", "\u202e"),
    *(":args", ":name", "a:nameb", "{}", "%s", "\ufffd", "日本", "😀", "\u2028"),
]
# every character of one byte, and of every first and last byte of a longer one
EVERY = "".join(map(chr, [*range(1, 0x100), *range(0x100, 0x800, 63), *range(0xE000, 0x10000, 63)]))
ALL = [*HOSTILE, *(EVERY[place::24] for place in range(24))][:64]
SLOW_OR_QUICK = 'test "$1" = quick || {{ {0}; }}; echo "$1"'
WITH_DETACHED = pytest.mark.parametrize("kind", ["plain", "warm"])


def _sh(*argv: str, **step: Any) -> dict[str, Any]:
    return {"box": "sh", "command": argv, **step}


def _exec(box: str, *argv: str, **step: Any) -> dict[str, Any]:
    return {"box": box, "action": "exec", "command": argv, **step}


def _script(text: str) -> dict[str, Any]:
    """Return the options of an execution whose files are a script."""
    return {"files": {"": text}, "entry": "main.sh"}


def _inputs(*texts: str) -> list[Input]:
    """Return runs that get one argument each, which is also their stdin."""
    return [Input(text.encode(), (text,)) for text in texts]


def _ended(execution: Execution) -> list[tuple[bool, str]]:
    """Return of each run whether it went well, and its text."""
    return [(each.ok, each.stdout or each.stderr) for each in execution.results or ()]


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_program_reads_the_stdin_of_the_request(run, size):
    execution = run("wc", "-c", input=Input(b"x" * size))
    assert execution.stdout == f"{size}\n"


def test_stdin_may_hold_any_bytes(run):
    execution = run("od", "-An", "-v", "-tx1", input=Input(bytes(range(256))))
    assert bytes.fromhex(execution.stdout) == bytes(range(256))


@pytest.mark.parametrize("program", ["true", "exec <&-; sleep 0.2", "head -c 1"])
def test_program_need_not_read_the_stdin(run, program):
    execution = run("sh", "-c", f"{program} >&2", input=Input(b"x" * MIB))
    assert (execution.ok, execution.stdout) == (True, "")


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_only_the_last_step_reads_the_stdin(execute):
    cat, nothing = _sh("cat"), _sh("sh", "-c", 'test -z "$(cat)"')
    execution = execute(cat, cat, before=cat, after=nothing, input=Input(b"text"))
    assert execution.ok
    assert [step.stdout for step in execution.steps] == ["", "", "text"]


@pytest.mark.parametrize("kind", ["plain"])
def test_last_step_reads_the_stdin_where_the_first_reads_the_files(execute):
    execution = execute(_sh("cat", stdin=True), _sh("cat"), input=Input(b"in"), files={"": "f"})
    assert [step.stdout for step in execution.steps] == ["f", "in"]


@pytest.mark.parametrize("args", [[], [""], HOSTILE, ALL], ids=len)
def test_program_gets_exactly_the_args(run, args):
    assert len(args) <= 64
    execution = run(
        *("python", "-c", ARGV, ":args"), box=PYTHON, input=Input(args=tuple(args)), noutput=MIB
    )
    assert json.loads(execution.stdout) == args


@pytest.mark.parametrize("kind", ["plain"])
def test_exec_step_gets_exactly_the_input(execute, start_service):
    service = start_service("codapi/python", "sleep", "infinity")
    step = _exec(service, "python", "-c", ARGV, ":args", noutput=MIB)
    execution = execute(step, input=Input(args=tuple(ALL)))
    assert json.loads(execution.stdout) == ALL
    assert execute(_exec(service, "cat"), input=Input(b"text")).stdout == "text"


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_args_stand_in_their_place(execute):
    step = _sh("printf", "%s.", "a", ":args", "b", "x:args")
    execution = execute(step, step, input=Input(args=("1", "2")))
    assert [step.stdout for step in execution.steps] == ["a.1.2.b.x:args."] * 2
    assert execute(step).stdout == "a.b.x:args."


def test_each_run_gets_its_own_input(execute):
    step = _sh("sh", "main.sh", ":args")
    execution = execute(step, runs=_inputs("1", "2", "3"), **_script('echo "$@" $(cat)'))
    assert _ended(execution) == [(True, "1 1\n"), (True, "2 2\n"), (True, "3 3\n")]
    assert (execution.ok, execution.stdout, len(execution.steps)) == (True, "3 3\n", 1)
    assert execution.duration >= sum(each.duration for each in execution.results)


def test_earlier_steps_are_executed_once(execute):
    boxes = {"sh": {}, "writer": {"volume": "%s:/sandbox", "uses": 1}}
    write = _sh("sh", "-c", "echo once >> count", box="writer")
    execution = execute(write, _sh("cat", "count"), boxes=boxes, runs=_inputs("", ""))
    assert _ended(execution) == [(True, "once\n")] * 2
    assert len(execution.steps) == 2


@pytest.mark.parametrize("kind", ["plain", "reused"])
def test_first_failed_run_is_the_answer_and_all_are_executed(execute):
    step = _sh("sh", "main.sh", ":args")
    runs = _inputs("0", "3", "0", "4")
    execution = execute(step, runs=runs, **_script('echo "$1"; exit "$1"'))
    assert (execution.ok, execution.stderr, execution.reason) == (
        False,
        "3 (exit status 3)",
        "exit",
    )
    assert _ended(execution) == [
        (True, "0\n"),
        (False, "3 (exit status 3)"),
        (True, "0\n"),
        (False, "4 (exit status 4)"),
    ]
    assert execution.steps[-1].exit_code == 3


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_failed_earlier_step_leaves_no_results(execute):
    execution = execute(_sh("false"), _sh("cat"), runs=_inputs("1"))
    assert (execution.ok, execution.results) == (False, ())
    assert execute(_sh("cat"), runs=_inputs("1"), files={"../x": ""}, entry="m").results == ()


@pytest.mark.parametrize("kind", ["warm"])
def test_after_follows_all_runs_once(execute, service):
    after = _exec(service, "sh", "-c", "echo ran >> /tmp/:name")
    for inputs in (_inputs("0", "0"), _inputs("0", "1", "0")):
        step = _sh("sh", "main.sh", ":args")
        execution = execute(step, after=after, runs=inputs, **_script("exit $1"))
        assert len(execution.results) == len(inputs)
        assert docker("exec", service, "cat", f"/tmp/{execution.id}") == "ran"


def test_each_run_has_its_own_timeout(execute):
    sleep = Sleep(1000)
    step = _sh("sh", "main.sh", ":args", timeout=0.5)
    script = _script(SLOW_OR_QUICK.format(sleep.text))
    execution = execute(step, runs=_inputs("quick", "slow", "quick"), **script)
    timeout = (False, "code execution timeout")
    assert _ended(execution) == [(True, "quick\n"), timeout, (True, "quick\n")]
    assert execution.reason == "timeout"
    assert not sleep.runs()


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_runs_together_are_bounded(execute):
    step = _sh("sleep", ":args", timeout=60)
    execution = execute(step, runs=_inputs("0", "100", "0", "0"), runs_timeout=2)
    late = (False, "not executed: the runs took 2 s: send fewer")
    assert _ended(execution) == [
        (True, ""),
        (False, "code execution timeout"),
        *[late] * 2,
    ]
    assert [each.steps[0].reason for each in execution.results[1:]] == ["timeout", "error", "error"]
    assert (execution.reason, execution.duration < 2000 + 5000) == ("timeout", True)


def test_run_finds_nothing_of_an_earlier_one(execute):
    sleep = Sleep(1000)
    script = (
        f"ls -A /dev/shm; grep -lx sleep /proc/[0-9]*/comm; ({sleep.text}) & echo $$ > /dev/shm/f"
    )
    execution = execute(_sh("sh", "main.sh"), runs=_inputs(*"123"), **_script(script))
    assert _ended(execution) == [(True, "")] * 3
    assert not sleep.runs()


@pytest.mark.parametrize("kind", ["plain", "warm", "reused"])
def test_run_after_one_whose_box_vanished_gets_another(instance, execute):
    sleep, step = Sleep(1000), _sh("sh", "main.sh", ":args", timeout=60)
    runs, script = _inputs("slow", "quick"), _script(SLOW_OR_QUICK.format(sleep.text))
    execution = instance.start(execute, step, runs=runs, **script)
    wait_for(sleep.runs)
    docker("rm", "--force", *instance.containers())
    assert _ended(execution.result()) == [(False, "sandbox died"), (True, "quick\n")]


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_cancelled_runs_end_at_once(instance, execute, service):
    sleep = Sleep(1000)
    script = f"echo ran >> /tmp/:name; {sleep.text}"
    step = _exec(service, "sh", "-c", script, timeout=60)
    execution = instance.start(execute, step, runs=_inputs("1", "2"))
    wait_for(sleep.runs)
    instance.cancel()
    id, reason = execution.result().id, execution.result().reason
    assert (reason, sleep.runs()) == ("cancelled", False)
    assert docker("exec", service, "cat", f"/tmp/{id}") == "ran"


@pytest.mark.parametrize("kind", ["plain", "cold", "warm"])
def test_box_that_cannot_be_reset_is_replaced(execute):
    boxes = {"sh": {"writable": True}}
    script = "ls /var/tmp; echo left > /var/tmp/left"
    step = _sh("sh", "main.sh", user="root")
    execution = execute(step, boxes=boxes, runs=_inputs("", ""), **_script(script))
    assert _ended(execution) == [(True, "")] * 2


@WITH_DETACHED
def test_runs_may_use_a_detached_box(execute):
    detach = _sh("sleep", "1000", detach=True)
    step = _exec(":name", "sh", "main.sh", ":args")
    execution = execute(detach, step, runs=_inputs("1", "2"), **_script('echo "$@" $(cat)'))
    assert _ended(execution) == [(True, "1 1\n"), (True, "2 2\n")]
    assert len(execution.steps) == 2


@WITH_DETACHED
def test_run_that_ends_the_detached_box_fails_the_later_ones(execute):
    detach = _sh("sleep", "1000", detach=True)
    step = _exec(":name", "sleep", ":args", timeout=0.5)
    execution = execute(detach, step, runs=_inputs("0", "100", "0"))
    gone = (False, "box :name is not running")
    assert _ended(execution) == [(True, ""), (False, "code execution timeout"), gone]


@pytest.mark.parametrize("kind", ["warm"])
def test_detached_program_that_cannot_be_started_leaves_no_results(execute):
    detach = _sh("nope", detach=True)
    execution = execute(detach, _sh("sleep", "0.5"), runs=_inputs("1", "2"))
    assert execution.stderr == "nope: not found (exit status 127)"
    assert (execution.results, len(execution.steps)) == ((), 1)


@pytest.mark.parametrize("kind", ["plain"])
def test_runs_may_use_a_service(execute, service):
    step = _exec(service, "sh", "-c", "cat; exit 3")
    execution = execute(step, runs=_inputs("1", "2"))
    assert _ended(execution) == [(False, "1 (exit status 3)"), (False, "2 (exit status 3)")]


@pytest.mark.parametrize("kind", ["plain", "warm"])
def test_fault_of_the_server_ends_all_runs(execute):
    boxes = {"sh": {}, "broken": {"network": "no-such-network"}}
    execution = execute(_sh("cat", box="broken"), boxes=boxes, runs=_inputs("1", "2"))
    assert (execution.stderr, execution.results) == ("internal error", None)
    assert execution.fault


def test_missing_image_ends_all_runs(execute):
    boxes = {"missing": {"image": "codapi/no-such-image"}}
    execution = execute(_sh("cat", box="missing"), boxes=boxes, runs=_inputs("1", "2"))
    assert execution.stderr.endswith(" is not installed: make images NAMES=no-such-image")
    assert execution.results == ()
