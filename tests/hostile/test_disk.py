"""Programs that fill a disk, where they may write to one."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.hostile]

# such boxes are not reused
KINDS = pytest.mark.parametrize("kind", ["attached", "warm"])
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


@pytest.mark.parametrize(("place", "how"), [(p, how) for p, ways in WAYS.items() for how in ways])
@KINDS
def test_a_program_that_fills_a_disk_is_killed(attack, place, how):
    directory, box = PLACES[place]
    argv = ("python", "/programs/fill.py", directory, how)
    execution = attack(*argv, timeout=10, box={**box, "work_size": 4})
    assert (execution.ok, execution.stdout) == (False, "")
    if "File too large" not in execution.stderr:
        assert execution.stderr == "disk limit exceeded (4 MiB)"
