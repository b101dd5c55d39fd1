import re

import pytest

from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.errors import RequestError
from codapi_flask.jobs.admission import Admission
from codapi_flask.jobs.request import Request
from codapi_flask.models import Input

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
        "plot": Command(steps=(Step(box="python"),), after=Step(box="python", outputs=("*",))),
    },
    "web": {
        "run": Command(engine="http"),
        "plot": Command(engine="http", steps=(Step(box="python", outputs=("*",)),)),
    },
    "sh": {
        "run": Command(steps=(Step(box="sh", command=("a", ":args")),)),
        "cat": Command(steps=(Step(box="sh", stdin=True, command=("a", ":args")),)),
        "first": Command(steps=(Step(box="sh", command=("a", ":args")), Step(box="sh"))),
        "detached": Command(steps=(Step(box="sh", detach=True),)),
        "stopped": Command(
            steps=(Step(box="sh", command=("a", ":args")), Step(box="b", action="stop"))
        ),
    },
    "c++": {"++": Command(steps=(Step(box="c++"),))},
    "_x": {"-run it": Command(engine="http")},
    "++": {"日本": Command(engine="http")},
}
SANDBOXES = Admission(Config(boxes=BOXES, commands=COMMANDS))


def admit(sandbox="python", command="run", files=None, **more):
    files = {"": "print(42)"} if files is None else files
    return SANDBOXES.admit(Request(sandbox=sandbox, command=command, files=files, **more))


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
        ({"outputs": True}, "malformed", "outputs: this command gives no files back: leave it out"),
        ({"outputs": True, "version": "9"}, "no box", "unknown box python:9"),
        (
            {"outputs": True, "sandbox": "web", "command": "plot"},
            "malformed",
            "outputs: this command gives no files back: leave it out",
        ),
    ],
)
def test_invalid_request_is_refused(request_, kind, text):
    assert refusal(**request_) == (kind, text)


@pytest.mark.parametrize("outputs", [True, False])
def test_job_asks_for_outputs_as_the_request_does(outputs):
    assert admit(command="plot", outputs=outputs).outputs is outputs


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


def inputs(command="run", sandbox="sh", **given):
    """Return what the last step of an admitted job gets, and what each run does."""
    document = {"sandbox": sandbox, "command": command, "files": {"": "x"}, **given}
    job = SANDBOXES.admit(Request.parse(document))
    return job.input, job.runs


@pytest.mark.parametrize(
    ("given", "input"),
    [
        ({}, Input()),
        ({"stdin": "", "args": []}, Input()),
        ({"stdin": "1\n", "args": ["2"]}, Input(b"1\n", ("2",))),
        ({"stdin": "data:;base64,AP8="}, Input(b"\0\xff")),
        ({"stdin": "data: no URL"}, Input(b"data: no URL")),
        ({"stdin": "\ud800é", "args": ["\udfff"]}, Input("\ufffdé".encode(), ("\ufffd",))),
        (
            {"args": ["data:,a", "", ":name", ":args"]},
            Input(args=("data:,a", "", ":name", ":args")),
        ),
    ],
)
def test_input_is_that_of_the_request(given, input):
    assert inputs(**given) == (input, ())
    assert inputs(runs=[given, {}]) == (Input(), (input, Input()))


@pytest.mark.parametrize("more", [{}, {"stdin": "", "args": []}, {"stdin": None, "args": None}])
def test_empty_input_is_accepted_by_every_command(more):
    for sandbox, command in [("web", "run"), ("sh", "cat"), ("sh", "detached"), ("python", "run")]:
        assert inputs(command, sandbox, **more) == (Input(), ())
    for command in ("cat", "run", "first"):
        assert inputs(command, runs=[more]) == (Input(), (Input(),))


def test_args_may_be_those_of_an_earlier_step():
    for command in ("first", "stopped"):
        assert inputs(command, args=["1"]) == (Input(args=("1",)), ())


READS_FILES = "the last step of this command reads the files from its stdin, so it takes no other"
NO_INPUT = "the last step of this command does not read input"
NO_ARGS = "this command takes none, as its config has no place for them (':args')"
BASE64 = "invalid base64 in the data URL"


@pytest.mark.parametrize(
    ("sandbox", "command", "given", "text"),
    [
        ("sh", "cat", {"stdin": "1"}, f"stdin: {READS_FILES}"),
        ("sh", "cat", {"runs": [{}, {"stdin": "1"}]}, f"runs[1].stdin: {READS_FILES}"),
        ("sh", "detached", {"stdin": "1"}, f"stdin: {NO_INPUT}"),
        ("sh", "stopped", {"stdin": "1"}, f"stdin: {NO_INPUT}"),
        ("web", "run", {"stdin": "1"}, f"stdin: {NO_INPUT}"),
        *(
            (sandbox, command, {"runs": [{}]}, f"runs: {NO_INPUT}")
            for sandbox, command in [("sh", "detached"), ("sh", "stopped"), ("web", "run")]
        ),
        ("python", "run", {"args": [""]}, f"args: {NO_ARGS}"),
        ("web", "run", {"args": ["1"]}, f"args: {NO_ARGS}"),
        ("python", "run", {"runs": [{}, {"args": ["1"]}]}, f"runs[1].args: {NO_ARGS}"),
        # only the last step is executed for each
        ("sh", "first", {"runs": [{}, {"args": ["1"]}]}, f"runs[1].args: {NO_ARGS}"),
        ("sh", "run", {"stdin": "data:;base64,x"}, f"stdin: {BASE64}"),
        ("sh", "run", {"runs": [{}, {"stdin": "data:;base64,x"}]}, f"runs[1].stdin: {BASE64}"),
        *(
            (
                "sh",
                "run",
                {**given, "runs": [{}]},
                "runs: put stdin and args into each of them, not beside them",
            )
            for given in ({"stdin": "1"}, {"args": ["1"]}, {"stdin": "1", "args": ["2"]})
        ),
    ],
)
def test_input_that_the_command_does_not_take_is_refused(sandbox, command, given, text):
    with pytest.raises(RequestError) as caught:
        inputs(command, sandbox, **given)
    assert (caught.value.kind, caught.value.text) == ("malformed", text)
    assert caught.value.id.startswith(f"{sandbox}_{command}_")


def test_runs_beside_empty_input_are_accepted():
    assert inputs(stdin="", args=[], runs=[{}]) == (Input(), (Input(),))
