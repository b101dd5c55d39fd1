import re

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.errors import RequestError
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.request import Request

BOXES = {
    name: BoxSpec(name=name, image="i")
    for name in ("python", "python:3.12", "sh", "c++", "c++:1+2")
}
COMMANDS = {
    "python": {
        "run": Command(entry="main.py", steps=(Step(box="python"),)),
        "pinned": Command(steps=(Step(box="python", version="3.12"),)),
        "both": Command(steps=(Step(box="python"), Step(box="sh"))),
        "service": Command(steps=(Step(box="postgres", action="exec"),)),
    },
    "web": {"run": Command(engine="http")},
    "c++": {"++": Command(steps=(Step(box="c++"),))},
    "_x": {"-run it": Command(engine="http")},
    "++": {"日本": Command(engine="http")},
}
SANDBOXES = Admission(Config(boxes=BOXES, commands=COMMANDS))


def admit(sandbox="python", command="run", files=None, version=""):
    files = {"": "print(42)"} if files is None else files
    return SANDBOXES.admit(Request(sandbox=sandbox, command=command, files=files, version=version))


def refusal(**request):
    with pytest.raises(RequestError) as caught:
        admit(**request)
    return caught.value.kind, caught.value.text


@pytest.mark.parametrize(
    ("request_", "id"),
    [
        ({}, "python_run"),
        ({"version": "3.12"}, "python.3.12_run"),
        ({"version": "latest"}, "python.latest_run"),
        ({"sandbox": "web"}, "web_run"),
        ({"sandbox": "c++", "command": "++"}, "c___x"),
        ({"sandbox": "c++", "command": "++", "version": "1+2"}, "c__.1_2_x"),
        ({"sandbox": "_x", "command": "-run it"}, "x_run_it"),
        ({"sandbox": "++", "command": "日本"}, "x_x"),
    ],
)
def test_job_has_a_unique_id(request_, id):
    ids = {admit(**request_).id for _ in range(10)}
    assert len(ids) == 10
    assert all(re.fullmatch(re.escape(id) + "_[0-9a-f]{8}", each) for each in ids)


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [
        ({"sandbox": "perl"}, "unknown", "unknown sandbox"),
        ({"sandbox": ""}, "unknown", "unknown sandbox"),
        ({"sandbox": "../python"}, "unknown", "unknown sandbox"),
        ({"command": "test"}, "unknown", "unknown command"),
        ({"command": ""}, "unknown", "unknown command"),
        ({"sandbox": "perl", "files": {}}, "unknown", "unknown sandbox"),
        ({"files": {}}, "malformed", "empty request"),
        ({"files": {"": ""}}, "malformed", "empty request"),
        ({"files": {"": " \n\t"}}, "malformed", "empty request"),
        ({"files": {}, "version": "9"}, "malformed", "empty request"),
        ({"version": "9"}, "no box", "unknown box python:9"),
        ({"version": "3.12", "command": "both"}, "no box", "unknown box sh:3.12"),
    ],
)
def test_invalid_request_is_refused(request_, kind, text):
    assert refusal(**request_) == (kind, text)


def test_blank_code_beside_another_file_is_accepted():
    assert admit(files={"": "", "data.txt": ""}).files == {"": "", "data.txt": ""}


@pytest.mark.parametrize(
    ("command", "files", "names"),
    [
        ("run", {"./a": "", "b/../c": "", "d//e/": ""}, ["a", "c", "d/e"]),
        ("run", {"b": "", "": "", "./a": ""}, ["b", "", "a"]),
        ("run", {"../a": "", "a/../../b": "", "c/..": "", "/d": ""}, None),
        # these write no files
        ("service", {"./a": "x", "a": ""}, None),
        ("service", {"": "x", "main.py": ""}, None),
    ],
)
def test_names_are_normalised_where_files_are_written(command, files, names):
    assert list(admit(command=command, files=files).files) == (names or list(files))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("", "main.py"), "files[main.py]: the same file as files[]"),
        (("main.py", ""), "files[]: the same file as files[main.py]"),
        (("./main.py", ""), "files[]: the same file as files[./main.py]"),
        (("a", "./a"), "files[./a]: the same file as files[a]"),
        (("b/../a", "a/"), "files[a/]: the same file as files[b/../a]"),
        (("", "a//b", "a/b"), "files[a/b]: the same file as files[a//b]"),
        (("./" * 99 + "a", "a"), "files[a]: the same file as files[" + "./" * 50 + "]"),
    ],
)
def test_two_names_of_one_file_are_refused(names, text):
    assert refusal(files=dict.fromkeys(names, "x")) == ("malformed", text)


@pytest.mark.parametrize("version", ["9", "$(id)", "a\nid=- ok=true", "\ud800", "x" * 1000])
@pytest.mark.parametrize("command", ["pinned", "service"])
def test_version_that_selects_no_box_is_ignored(command, version):
    job = admit(command=command, version=version)
    assert re.fullmatch(f"python_{command}_[0-9a-f]{{8}}", job.id)


def test_unknown_version_does_not_appear_in_the_id():
    with pytest.raises(RequestError) as caught:
        admit(version="9\n$(id)")
    assert re.fullmatch("python_run_[0-9a-f]{8}", caught.value.id)
