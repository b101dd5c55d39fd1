"""Programs that multiply, that do not want to end, and that attack each other."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

FORK = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
DAEMONS = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
"""
SIGNALS = """
import os, signal
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
for number in signal.valid_signals():
    try:
        os.kill(1, number)
    except PermissionError:
        pass
print("on")
"""
OPEN = """
import os, time
files = []
for _ in range(40):
    child = os.fork()
    try:
        while child == 0:
            files.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        time.sleep(1000)
time.sleep(0.5)
print("on")
"""

ENDLESS = {
    "a fork bomb in C": ["/programs/storm", "fork"],
    "orphans in C": ["/programs/storm", "orphans"],
    "a storm of exec in C": ["/programs/storm", "exec"],
    "threads and forks in C": ["/programs/storm", "threads"],
    "a fork bomb in Python": ["python", "-c", FORK],
    "a fork bomb in sh": ["sh", "-c", "b() { b | b & }; (b) & while :; do :; done"],
    "spinning": ["sh", "-c", "for i in $(seq 50); do (while :; do :; done) & done; wait"],
    "stopping its group": ["sh", "-c", "kill -STOP 0"],
    "stopping all": ["sh", "-c", "sleep 1000 & kill -STOP -1; kill -STOP $$"],
    "ignoring signals": ["sh", "-c", "trap '' TERM INT HUP QUIT; sleep 1000 & wait"],
    "leaving its session": ["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & sleep 1000"],
    "closing its streams": ["sh", "-c", "exec <&- >&- 2>&-; sleep 1000"],
    "daemons": ["python", "-c", f"{DAEMONS}\ntime.sleep(1000)"],
}
ENDING = {
    "daemons that hold stdout": (["python", "-c", f"{DAEMONS}\nprint('on')"], "on\n"),
    "thousands of open files": (["python", "-c", OPEN], "on\n"),
    "killing all": (["sh", "-c", "sleep 1000 & kill -9 -1; echo on"], "on\n"),
    "signals to process 1": (["python", "-c", SIGNALS], "on\n"),
}
FAILING = {
    "killing its group": (["sh", "-c", "kill -9 0"], "exit status 137"),
    "dumping core": (["sh", "-c", "ulimit -c unlimited; kill -SEGV $$"], "exit status 139"),
}


@pytest.mark.parametrize("program", ENDLESS)
def test_program_ends_at_its_timeout(attack, program):
    # the kernel is slow to free the memory of failed forks
    execution = attack(*ENDLESS[program], box={"memory": 1024})
    answer = execution.ok, execution.stdout, execution.stderr
    assert answer == (False, "", "code execution timeout")


@pytest.mark.parametrize("program", ENDING)
def test_program_ends_with_its_first_process(attack, program):
    argv, stdout = ENDING[program]
    execution = attack(*argv, timeout=10)
    assert (execution.ok, execution.stdout, execution.stderr) == (True, stdout, "")
    assert execution.steps[-1].wall_ms < 5000


@pytest.mark.parametrize("program", FAILING)
def test_program_that_destroys_itself_has_failed(attack, program):
    argv, stderr = FAILING[program]
    execution = attack(*argv)
    assert (execution.ok, execution.stdout, execution.stderr) == (False, "", stderr)
