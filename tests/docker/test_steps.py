"""The steps of a command: their order, their boxes, and the step that answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docker.test_ends import UNSTARTABLE
from tests.support.instance import docker
from tests.support.programs import Sleep

pytestmark = pytest.mark.docker

OK, FAILS, FAULT = "ok", "fails", "fault"

# how before, the steps and after end: those that write to the log, the one that answers
ORDERS = [
    (None, [OK, OK], None, "1 2", "2"),
    (OK, [OK, OK], OK, "before 1 2 after", "2"),
    (OK, [OK], FAILS, "before 1 after", "after"),
    (OK, [FAILS, OK], OK, "before 1 after", "1"),
    (OK, [OK, FAILS, OK], OK, "before 1 2 after", "2"),
    (OK, [FAILS], FAILS, "before 1 after", "1"),
    (FAILS, [OK], OK, "before after", "before"),
    (FAILS, [OK], FAILS, "before after", "before"),
    (None, [FAILS], OK, "1 after", "1"),
    (FAULT, [OK], OK, "after", "fault"),
    (None, [OK, FAULT, OK], OK, "1 after", "fault"),
    (None, [FAULT], FAILS, "after", "fault"),
    (OK, [OK], FAULT, "before 1", "fault"),
    (OK, [FAILS], FAULT, "before 1", "1"),
]
# a detached box is always a plain container; the others are not
WITH_DETACHED = pytest.mark.parametrize("kind", ["plain", "warm"])
BOXES: dict[str, dict[str, Any]] = {"sh": {}, "broken": {"network": "no-such-network"}}


def _sh(program: str, **step: Any) -> dict[str, Any]:
    return {"box": "sh", "command": ["sh", "-c", program], **step}


def _exec(box: str, *argv: str, **step: Any) -> dict[str, Any]:
    return {"box": box, "action": "exec", "command": argv, **step}


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("kind", ["plain"])
def test_steps_run_until_one_fails_and_after_always_runs(execute, service, order):
    def step(name: str, end: str | None) -> dict[str, Any] | None:
        program = f"echo {name} | tee -a /tmp/:name; test {end} = ok"
        fault = {"box": "broken", "command": ["true"]}
        return end and (fault if end == FAULT else _exec(service, "sh", "-c", program))

    before, ends, after, logged, answering = order
    steps = [step(str(number), end) for number, end in enumerate(ends, 1)]
    execution = execute(
        *steps, before=step("before", before), after=step("after", after), boxes=BOXES
    )
    log = docker("exec", service, "cat", f"/tmp/{execution.id}")
    assert log.split() == logged.split()
    if answering == "fault":
        assert (execution.ok, execution.stdout, execution.stderr) == (False, "", "internal error")
    elif {before, *ends, after} <= {OK, None}:
        assert (execution.ok, execution.stdout) == (True, f"{answering}\n")
    else:
        assert (execution.ok, execution.stderr) == (False, f"{answering} (exit status 1)")


@pytest.mark.parametrize(
    ("after", "cause"),
    [
        ({"box": "sh", "command": ["sh", "-c", "echo why >&2; exit 7"]}, "why (exit status 7)"),
        ({"box": "broken", "command": ["true"]}, "no-such-network"),
    ],
)
@pytest.mark.parametrize("failing", ["sh", "broken"])
@pytest.mark.parametrize("kind", ["plain"])
def test_failed_after_of_a_failed_command_is_logged(execute, caplog, after, cause, failing):
    execution = execute(_sh("exit 3", box=failing), after=after, boxes=BOXES)
    assert execution.stderr == ("exit status 3" if failing == "sh" else "internal error")
    assert "no-such-network" in execution.fault or failing == "sh"
    [record] = caplog.records
    assert record.message.startswith(f"id={execution.id} the after step failed: ")
    assert cause in record.message


@pytest.mark.parametrize("kind", ["plain"])
def test_invalid_file_name_prevents_all_steps(execute, service):
    step = _exec(service, "sh", "-c", "echo ran >> /tmp/refused")
    files = {"": "text", "../x": "text"}
    execution = execute(step, before=step, after=step, files=files, entry="main")
    assert execution.stderr == "files[../x]: invalid name"
    assert docker("exec", service, "sh", "-c", "cat /tmp/refused || true") == ""


def test_output_of_earlier_steps_is_dropped(execute):
    step = _sh("echo out; echo err >&2")
    execution = execute(step, _sh("echo last"), before=step, after=step)
    assert (execution.ok, execution.stdout, execution.stderr) == (True, "last\n", "")


def test_output_of_earlier_steps_is_dropped_when_one_fails(execute):
    step = _sh("echo out; echo err >&2")
    execution = execute(step, _sh("echo last; exit 3"), _sh("echo never"), before=step, after=step)
    assert (execution.ok, execution.stderr) == (False, "last (exit status 3)")


def test_step_finds_no_process_of_an_earlier_one(execute):
    sleep = Sleep(1000)
    count = "cat /proc/[0-9]*/comm | grep -c sleep || true"
    execution = execute(_sh(f"({sleep.text}) & echo started"), _sh(count))
    assert (execution.ok, execution.stdout) == (True, "0\n")
    assert not sleep.runs()


def test_step_may_use_another_box(execute):
    boxes = {"sh": {}, "other": {"tmpfs": ["/other"]}}
    seen = "test -d /other && echo other || echo sh"
    for names in (["sh", "other"], ["other", "sh"], ["sh", "other", "sh"]):
        execution = execute(*(_sh(seen, box=name) for name in names), boxes=boxes)
        assert execution.stdout == f"{names[-1]}\n"


@pytest.mark.parametrize(
    ("pinned", "asked", "used"),
    [
        ("", "", "sh"),
        ("", "latest", "sh"),
        ("", "1.5", "sh:1.5"),
        ("2", "", "sh:2"),
        ("2", "1.5", "sh:2"),
        ("latest", "1.5", "sh"),
    ],
)
@pytest.mark.parametrize("kind", ["cold", "reused"])
def test_version_selects_the_box(execute, pinned, asked, used):
    boxes = {name: {"tmpfs": [f"/{name}"]} for name in ("sh", "sh-1.5", "sh-2")}
    boxes = {name.replace("-", ":"): box for name, box in boxes.items()}
    execution = execute(_sh("ls -d /sh*", version=pinned), boxes=boxes, version=asked)
    assert execution.stdout == "/" + used.replace(":", "-") + "\n"
    assert execution.box == used


def test_name_placeholder_becomes_the_execution_id(execute):
    execution = execute(_sh('echo "$@"', command=["echo", ":name", "a:name:nameb", ":NAME"]))
    assert execution.stdout == f"{execution.id} a{execution.id}{execution.id}b :NAME\n"


@pytest.mark.parametrize("kind", ["plain"])
def test_name_placeholder_in_a_file_is_kept(execute):
    assert execute(_sh("cat main"), files={"": ":name"}, entry="main").stdout == ":name"


@WITH_DETACHED
def test_detached_box_runs_until_it_is_stopped(execute):
    sleep = Sleep(1000)
    seen = f"until grep -q {sleep.argument} /proc/[0-9]*/cmdline; do sleep 0.01; done"
    execution = execute(
        _sh(sleep.text, detach=True),
        _exec(":name", "sh", "-c", seen),
        {"box": ":name", "action": "stop"},
        _exec(":name", "echo", "still there"),
    )
    assert execution.stderr == "box :name is not running"
    assert not sleep.runs()


READY = {"tmpfs": ["/tmp"], "ready": ["test", "-e", "/tmp/ready"]}


@WITH_DETACHED
def test_step_begins_when_the_detached_box_is_ready(execute):
    serve = "sleep 0.5; touch /tmp/ready; sleep 1000"
    execution = execute(
        _sh(serve, detach=True), _exec(":name", *READY["ready"]), boxes={"sh": READY}
    )
    assert (execution.ok, execution.stderr) == (True, "")


@WITH_DETACHED
@pytest.mark.parametrize(
    ("program", "box", "stderr"),
    [
        ("sleep 1000", {}, "box sh is not ready within 0.5 s"),
        (
            "sleep 1000",
            {"ready": ["sh", "-c", "echo not yet; exit 1"]},
            "box sh is not ready within 0.5 s: not yet",
        ),
        ("sleep 1000", {"ready": ["sleep", "1000"]}, "box sh is not ready within 0.5 s"),
        (
            "sleep 1000",
            {"ready": ["no-such-program"]},
            "box sh is not ready within 0.5 s: no-such-program: not found",
        ),
        ("echo why >&2; exit 3", {"ready_timeout": 30}, "why (exit status 3)"),
        ("true", {"ready_timeout": 30}, "box sh ends before it is ready"),
    ],
)
def test_command_fails_if_the_detached_box_does_not_become_ready(execute, program, box, stderr):
    execution = execute(
        _sh(program, detach=True),
        _exec(":name", "echo", "never"),
        boxes={"sh": {**READY, "ready_timeout": 0.5, **box}},
    )
    assert (execution.ok, execution.stdout, execution.stderr) == (False, "", stderr)


@WITH_DETACHED
def test_detached_box_is_removed_at_the_end(execute):
    # the fixture checks that no container is left
    sleep = Sleep(1000)
    execution = execute(
        *[_sh(sleep.text, detach=True)] * 3, _sh("echo two"), _exec(":name", "echo", "done")
    )
    assert (execution.ok, execution.stdout) == (True, "done\n")
    assert not sleep.runs()


@WITH_DETACHED
def test_detached_box_is_removed_when_a_step_fails(execute):
    sleep = Sleep(1000)
    execution = execute(_sh("exit 3"), before=_sh(sleep.text, detach=True))
    assert execution.stderr == "exit status 3"
    assert not sleep.runs()


@WITH_DETACHED
def test_detached_box_shares_the_work_directory(execute):
    detached = _sh("echo detached > file; sleep 1000", detach=True)
    read = "until test -s file; do sleep 0.01; done; cat file main"
    boxes = {"sh": {"volume": "%s:/sandbox"}}
    execution = execute(detached, _sh(read), boxes=boxes, files={"": "text"}, entry="main")
    assert execution.stdout == "detached\ntext"


@WITH_DETACHED
def test_detached_program_reads_empty_stdin(execute):
    detached = _sh("wc -c > file; sleep 1000", detach=True, stdin=True)
    read = "until test -s file; do sleep 0.01; done; cat file"
    boxes = {"sh": {"volume": "%s:/sandbox"}}
    assert execute(detached, _sh(read), boxes=boxes, files={"": "text"}).stdout == "0\n"


@pytest.mark.parametrize("program", ["exit 0", "exit 3", "exec nope"])
@pytest.mark.parametrize("kind", ["plain"])
def test_exec_in_a_detached_box_that_has_ended_fails(execute, program):
    step = _exec(":name", "sleep", "1000")
    execution = execute(_sh(program, detach=True), step, step)
    # the program may end before the exec, or during it
    assert not execution.ok
    status = {"exit 0": 0, "exit 3": 3}.get(program, 127)
    ended = f"box :name is not running: exit status {status}"
    assert execution.stderr in (ended, "exit status 137")


@WITH_DETACHED
def test_exec_timeout_kills_the_program_in_a_detached_box(execute):
    sleep = Sleep(1000)
    execution = execute(
        _sh("sleep 1000", detach=True), _exec(":name", "sh", "-c", sleep.text, timeout=0.5)
    )
    assert execution.stderr == "code execution timeout"
    assert not sleep.runs()


def _used(patience: str) -> dict[str, Any]:
    """Return a step that acts on the detached box, again and again until it is gone."""
    return _exec(":name", "sh", "-c", f"sleep {patience}", timeout=20)


@pytest.mark.parametrize("program", UNSTARTABLE)
@pytest.mark.parametrize("following", [_used("20"), _sh("sleep 0.3"), _sh("exit 3")], ids=repr)
@pytest.mark.parametrize("kind", ["warm"])
def test_detached_program_that_cannot_be_started_is_the_answer(execute, program, following):
    detach = {"box": "sh", "command": [program], "detach": True}
    execution = execute(following, _sh("echo never", detach=False), before=detach)
    assert (execution.ok, execution.stderr) == (False, f"{program}: {UNSTARTABLE[program]}")
    [step] = execution.steps
    assert (step.reason, step.box) == ("exit", "sh")


@WITH_DETACHED
def test_detached_program_that_ended_early_is_in_details_and_log(execute, caplog):
    detach = _sh("yes 123456789 | head -c 9000; echo why >&2; exit 3", detach=True)
    execution = execute(_sh("sleep 0.5"), _exec(":name", "true"), before=detach)
    assert execution.stderr == "box :name is not running: exit status 3"
    step = execution.steps[0]
    assert (step.exit_code, step.reason, step.stderr) == (3, "exit", "why\n")
    # the end of its output
    assert step.stdout == ("123456789\n" * 900)[-4096:]
    assert step.truncated == ("stdout",)
    [line] = [record.message for record in caplog.records]
    assert line.startswith(f"id={execution.id} box sh: the detached program ended with")
    assert line.endswith("123456789\\nwhy\\n'")


@WITH_DETACHED
def test_detached_program_that_prints_without_end_is_not_blocked(execute):
    detach = _sh("yes & sleep 1000", detach=True)
    execution = execute(_sh("sleep 0.5"), _exec(":name", "echo", "there"), before=detach)
    assert (execution.ok, execution.stdout) == (True, "there\n")


@WITH_DETACHED
def test_detached_program_that_ended_well_changes_nothing_but_details(execute, caplog):
    execution = execute(_sh("sleep 0.5"), before=_sh("echo out", detach=True))
    assert (execution.ok, execution.stdout) == (True, "")
    assert [step.stdout for step in execution.steps] == ["out\n", ""]
    assert not [record for record in caplog.records if record.levelname != "INFO"]
