"""Programs that fill a disk to which they may write."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

TOO_DEEP = "directories are nested too deeply (limit: 200 levels)"

# such boxes are not reused
KINDS = pytest.mark.parametrize("kind", ["plain", "warm"])
PLACES = {
    "the work directory": ("/sandbox", {"volume": "%s:/sandbox"}),
    "its own files": ("/tmp", {"writable": True}),
}
WAYS = {
    "the work directory": [
        "one_file",
        "a_file_with_a_hole",
        "mapped_files",
        "files",
        "reserved_files",
        "empty_files",
        "hidden_files",
        "directories",
        "a_deep_tree",
        "links",
        "attributes",
        "files_that_come_and_go",
        "in_silence",
    ],
    "its own files": ["one_file", "files", "empty_files", "a_deep_tree"],
}


CHAINS = """
import os
ends = []
for chain in range(8):
    os.mkdir(f"c{chain}")
    end = os.open(f"c{chain}", os.O_RDONLY)
    for _ in range(185):
        os.mkdir("d", dir_fd=end)
        inner = os.open("d", os.O_RDONLY, dir_fd=end)
        os.close(end)
        end = inner
    ends.append(end)
for chain in range(7, 0, -1):
    os.rename(f"c{chain}", "x", dst_dir_fd=ends[chain - 1])
"""
CLOSE = """
import os
os.makedirs("outer/d")
d = os.open("outer/d", os.O_RDONLY)
try:
    os.chmod({closed!r}, 0)
except PermissionError:
    os.chmod("outer", 0)
for number in range(1000):
    file = os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=d)
    os.write(file, bytes(1 << 20))
    os.fsync(file)
    os.close(file)
print("wrote it all")
"""
AT_STOP = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
open("/sandbox/ready", "w").close()
signal.sigwait([signal.SIGTERM])
"""
DETACHED = """
import os, time
for number in range(1000):
    with open(f"/sandbox/{number}", "wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file)
time.sleep(1000)
"""


@KINDS
def test_cleanup_removes_a_tree_deeper_than_the_recursion_limit(attack, kind):
    """The fixture checks that nothing is left."""
    for _ in range(3):
        execution = attack("python", "-c", CHAINS, timeout=10, box={"volume": "%s:/sandbox"})
        assert execution.fault == ""
        assert execution.stderr in ("", "disk limit exceeded (64 MiB)", TOO_DEEP)


@pytest.mark.parametrize("closed", [".", "outer"])
@pytest.mark.parametrize("uid", [0, 1000, 2000])
@KINDS
def test_quota_measures_a_directory_closed_to_the_server(attack, closed):
    """User 1000 is also the boxes' user, who may then close the work directory itself."""
    box = {"volume": "%s:/sandbox", "work_size": 4}
    execution = attack("python", "-c", CLOSE.format(closed=closed), timeout=10, box=box)
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr == "disk limit exceeded (4 MiB)"


@pytest.mark.parametrize("step", [{"box": "box"}, {"box": ":name", "action": "exec"}])
@pytest.mark.parametrize("kind", ["plain", "warm", "reused"])
def test_detached_box_filling_the_work_directory_ends_the_step(execute, image, step):
    boxes = {
        "box": {"image": image},
        "helper": {"image": image, "volume": "%s:/sandbox", "uses": 1, "work_size": 4},
    }
    before = {"box": "helper", "detach": True, "command": ["python", "-c", DETACHED]}
    execution = execute(
        {**step, "command": ["sleep", "9"], "timeout": 10}, before=before, boxes=boxes
    )
    assert (execution.ok, execution.stderr) == (False, "disk limit exceeded (4 MiB)")


@pytest.mark.parametrize("kind", ["plain"])
def test_detached_box_writing_while_it_is_stopped_is_killed(execute, image):
    boxes = {"helper": {"image": image, "volume": "%s:/sandbox", "work_size": 4}}
    before = {"box": "helper", "detach": True, "command": ["python", "-c", AT_STOP + DETACHED]}
    wait = ["sh", "-c", "until test -e /sandbox/ready; do sleep .1; done"]
    ready = {"box": ":name", "action": "exec", "command": wait, "timeout": 10}
    stop = {"box": ":name", "action": "stop", "timeout": 10}
    execution = execute(ready, stop, before=before, boxes=boxes)
    assert (execution.ok, execution.stderr) == (False, "disk limit exceeded (4 MiB)")
    assert execution.duration < 8000


@pytest.mark.parametrize(("place", "how"), [(p, how) for p, ways in WAYS.items() for how in ways])
@KINDS
def test_program_filling_a_disk_is_killed(attack, place, how):
    directory, box = PLACES[place]
    argv = ("python", "/programs/fill.py", directory, how)
    execution = attack(*argv, timeout=10, box={**box, "work_size": 4})
    assert (execution.ok, execution.stdout) == (False, "")
    if "File too large" not in execution.stderr:
        reasons = {"disk limit exceeded (4 MiB)", *([TOO_DEEP] if how == "a_deep_tree" else [])}
        assert execution.stderr in reasons


@pytest.mark.parametrize("uid", [2000])
@pytest.mark.parametrize("how", ["empty_files", "links"])
@KINDS
def test_program_filling_its_own_files_that_only_root_may_read_is_killed(attack, how):
    box = {"writable": True, "work_size": 4}
    execution = attack("python", "/programs/fill.py", "/tmp", how, timeout=10, box=box)
    assert (execution.ok, execution.stdout) == (False, "")
    assert execution.stderr == "disk limit exceeded (4 MiB)"
