import json
import os
import re
import shlex
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from codapi_flask.config import schema
from codapi_flask.config.load import load_config
from codapi_flask.config.model import BoxSpec, Command, Config, Preload, Step
from codapi_flask.errors import ConfigError
from tests.support.server import REPOSITORY

STEP = {"box": "sh", "command": ["sh", "main.sh"]}
EXEC = {"box": ":name", "action": "exec", "command": ["true"]}
RUN = {"run": {"engine": "docker", "entry": "main.sh", "steps": [STEP]}}
BOXES_SH = "configs/boxes/sh.json"
TOP, BOXES, SH = "configs/config.json", "configs/boxes.json", "configs/commands/sh.json"
GOOD = {TOP: {}, BOXES: {"sh": {"image": "codapi/sh"}}, SH: RUN}

IMAGE = "must be an image's name, like 'codapi/python:latest', in lower case, not "
ALLOWED = "printable characters but blanks and / : = \\ ' \""
ENV = (
    "must be an object of texts by variable (letters, digits and _), up to 128 KiB, "
    'like {"TZ": "Europe/Berlin"}, not '
)
USER = "must be a user's name or number, maybe with a group's"
CAPABILITY = "must be a capability, like 'net_bind_service', or 'all', not "

SH_BOX = BoxSpec(name="sh", image="codapi/sh")
SH_STEP = Step(box="sh", command=("sh", "main.sh"))
SH_RUN = {"run": Command(entry="main.sh", steps=(SH_STEP,))}
ARGS_IN_SHELL = (
    "':args' can get into a shell's line or options: run the program itself, or a script, "
    'like ["sh", "main.sh", ":args"]'
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("CODAPI_WORK_DIR", raising=False)
    monkeypatch.delenv("CODAPI_TOKENS", raising=False)


@pytest.fixture
def load(tmp_path):
    """Return a function that loads what is in these files; a document is written as JSON."""

    def load(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not isinstance(content, str | bytes):
                content = json.dumps(content)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_config(tmp_path)

    return load


@pytest.fixture
def problems(load):
    """Return a function that returns the problems of a config that is good but for these files."""

    def problems(files):
        with pytest.raises(ConfigError) as caught:
            load({**GOOD, **files})
        return caught.value.problems

    return problems


# layouts


@pytest.mark.parametrize(
    "files",
    [
        {
            "codapi.json": {},
            "sandboxes/sh/box.json": {"image": "codapi/sh"},
            "sandboxes/sh/commands.json": RUN,
        },
        {TOP: {}, "configs/boxes/sh.json": {"image": "codapi/sh"}, SH: RUN},
        GOOD,
    ],
    ids=["sandboxes", "boxes", "boxes.json"],
)
def test_layouts_load_to_the_same_config(load, tmp_path, files):
    assert load(files) == Config(root=str(tmp_path), boxes={"sh": SH_BOX}, commands={"sh": SH_RUN})


@pytest.mark.parametrize(
    "files",
    [
        {
            "codapi.json": {},
            "sandboxes/python/box.json": {"image": "p"},
            "sandboxes/python:3.12/box.json": {"image": "p12"},
            "sandboxes/old/box.json": {"name": "python:2", "image": "p2"},
        },
        {
            TOP: {},
            "configs/boxes/python.json": {"image": "p"},
            "configs/boxes/python:3.12.json": {"image": "p12"},
            "configs/boxes/old.json": {"name": "python:2", "image": "p2"},
        },
        {
            TOP: {},
            BOXES: {
                "python": {"image": "p"},
                "python:3.12": {"image": "p12"},
                "old": {"name": "python:2", "image": "p2"},
            },
        },
    ],
    ids=["sandboxes", "boxes", "boxes.json"],
)
def test_box_is_named_by_its_place_or_by_its_name(load, files):
    images = {name: box.image for name, box in load(files).boxes.items()}
    assert images == {"python": "p", "python:3.12": "p12", "python:2": "p2"}


def test_problem_shows_control_characters_escaped(problems):
    [problem] = problems({TOP: {"a\0\x1b[2J\n": 1}})
    assert "a\\x00\\x1b[2J\\n: unknown key" in problem
    assert problem.isprintable()


NAMES = ["c++", "_x", ".net", "a-b", "c#", "-", "日本", "e\u0301", "$(id)", "py;ls", "x" * 200]


@pytest.mark.parametrize("name", NAMES)
def test_names_hold_printable_characters(load, name):
    config = load(
        {
            TOP: {},
            BOXES: {name: {"image": "i"}, f"{name}:{name}": {"image": "i"}},
            f"configs/commands/{name}.json": {name: {"steps": [{"box": name, "version": name}]}},
        }
    )
    assert list(config.boxes) == [name, f"{name}:{name}"]
    assert [(sandbox, *commands) for sandbox, commands in config.commands.items()] == [(name, name)]


@pytest.mark.parametrize(
    "name", ["", "a b", "a\nb", "a=b", "a'b", 'a"b', "a\\b", "a\u202eb", "a\xa0"]
)
def test_name_that_a_log_or_path_would_change_is_a_problem(problems, name):
    [problem] = problems({SH: {name: RUN["run"]}})
    key = f": {name if name.isprintable() else repr(name)[1:-1]}" if name else ""
    assert problem == f"{SH}{key}: {name!r} is no name: use {ALLOWED}"
    for box in filter(None, (name, f"sh:{name}", f"{name}:2", "sh:2:3")):
        [problem] = problems({BOXES: {"sh": {"image": "i"}, "x": {"image": "i", "name": box}}})
        assert "is no box name" in problem


@pytest.mark.parametrize("name", ["box", "boxes", "commands"])
def test_name_of_another_layouts_file_is_just_a_name(load, name):
    config = load(
        {
            TOP: {},
            f"configs/boxes/{name}.json": {"image": "i"},
            f"configs/commands/{name}.json": {"run": {"steps": [{"box": name}]}},
        }
    )
    assert (list(config.boxes), list(config.commands)) == ([name], [name])


def test_sandbox_may_lack_either_file(load):
    config = load(
        {
            "codapi.json": {},
            "sandboxes/sh/box.json": {"image": "codapi/sh"},
            "sandboxes/shell/commands.json": RUN,
        }
    )
    assert (list(config.boxes), list(config.commands)) == (["sh"], ["shell"])


def test_other_files_beside_the_configs_are_ignored(load):
    more = {"configs/commands/README": "{", "configs/commands/sh.json~": "{", "configs/x.json": "{"}
    assert list(load({**GOOD, **more}).commands) == ["sh"]


def test_config_of_the_repository_loads():
    config = load_config(REPOSITORY)
    assert {"sh", "python"} <= config.boxes.keys() & config.commands.keys()
    assert config.pool_size == 8
    assert config.boxes["sh"] == SH_BOX
    assert config.commands["sh"]["run"].steps == (
        replace(SH_STEP, command=("sh", "main.sh", ":args")),
    )


# titles and starters


@pytest.mark.parametrize(
    ("given", "titles"),
    [("Shell", {"sh": "Shell"}), ("", {}), (None, {}), ('日本 "x"', {"sh": '日本 "x"'})],
)
def test_text_beside_the_commands_is_the_title(load, given, titles):
    config = load({**GOOD, SH: {"title": given, **RUN}})
    assert (config.titles, list(config.commands["sh"])) == (titles, ["run"])


def test_object_of_that_key_is_a_command(load):
    config = load({**GOOD, SH: {"title": RUN["run"]}})
    assert (config.titles, list(config.commands["sh"])) == ({}, ["title"])


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [("titel", "Shell", "'Shell'"), ("title", 5, "5"), ("title", [], "[]")],
)
def test_other_value_beside_the_commands_is_a_problem(problems, key, value, shown):
    assert f"{SH}: {key}: must be an object, not {shown}" in problems({SH: {key: value, **RUN}})


@pytest.mark.parametrize(
    ("files", "starter"),
    [
        ({"configs/starters/sh.sh": "echo 1"}, "echo 1"),
        ({"configs/starters/sh.txt": "2", "configs/starters/sh.sh": "1"}, "1"),
        ({"configs/starters/sh.sh": "\ufeffecho é\r\n"}, "echo é\r\n"),
        ({"configs/starters/sh.d/x": "", "configs/starters/sh.sh": "1"}, "1"),
        ({"sandboxes/sh/hello.sh": "1", "sandboxes/sh/other.sh": "2"}, "1"),
        ({"sandboxes/sh/hello.sh": "2", "configs/starters/sh.sh": "1"}, "1"),
        ({"configs/starters/sh.sh": "x" * 65536}, "x" * 65536),
        # of other sandboxes
        ({"configs/starters/sh.x.sh": "1", "configs/starters/bash.sh": "2"}, None),
        ({"configs/starters/sh": "1", "configs/starters/.sh": "2"}, None),
        ({"sandboxes/sh/hello": "1", "sandboxes/bash/hello.sh": "2"}, None),
        ({}, None),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_first_file_of_the_name_is_the_starter(load, files, starter):
    config = load({**GOOD, **files})
    assert config.starters == ({} if starter is None else {"sh": starter})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "a starter must be UTF-8"),
        (b"x" * 65537, "a starter may have at most 64 KiB"),
        (b"\xff" * 65537, "a starter may have at most 64 KiB"),
    ],
    ids=["latin-1", "large", "both"],
)
def test_starter_that_cannot_be_shown_is_a_problem(problems, content, why):
    file = "configs/starters/sh.sh"
    assert problems({file: content}) == [f"{file}: {why}"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (os.mkfifo, "it is no file"),
        (lambda path: os.symlink("nowhere", path), "cannot be read: No such file or directory"),
    ],
)
def test_starter_that_is_no_file_is_a_problem(load, tmp_path, make, why):
    load(GOOD)
    (tmp_path / "configs/starters").mkdir()
    make(tmp_path / "configs/starters/sh.sh")
    with pytest.raises(ConfigError) as caught:
        load({})
    assert caught.value.problems == [f"configs/starters/sh.sh: {why}"]


def test_name_with_special_characters_has_a_starter(load):
    commands = {"configs/commands/[a].json": {"run": {"steps": [STEP]}}}
    config = load(
        {**GOOD, **commands, "configs/starters/[a].sh": "1", "configs/starters/a.sh": "2"}
    )
    assert config.starters == {"[a]": "1"}


# the language


def test_files_are_json5(load):
    config = load(
        {
            TOP: "\ufeff// a comment\n{pool_size: +2, /* another */ box: {cpu: .5,},}",
            BOXES: "{sh: {image: 'codapi/sh', memory: 0x20,},}",
            SH: '{run: {steps: [{box: "sh", command: ["sh", "-c", "echo \\\n\\u00e9"],},],},}',
        }
    )
    assert config.pool_size == 2
    assert config.boxes["sh"] == BoxSpec(name="sh", image="codapi/sh", cpu=0.5, memory=32)
    assert config.commands["sh"]["run"].steps[0].command == ("sh", "-c", "echo é")


# merging


def test_defaults_are_merged_into_each_box_and_step(load):
    config = load(
        {
            TOP: {
                "box": {"image": "common", "memory": 128, "cap_drop": ["net_raw"], "nproc": 9},
                "step": {"user": "nobody", "timeout": 2.5, "box": "b"},
            },
            BOXES: {"a": {"image": "own", "memory": 32}, "b": {}},
            SH: {"run": {"before": {"user": "root"}, "steps": [{"box": "a", "timeout": 1}]}},
        }
    )
    common = {"nproc": 9, "cap_drop": ("net_raw",)}
    assert config.boxes == {
        "a": BoxSpec(name="a", image="own", memory=32, **common),
        "b": BoxSpec(name="b", image="common", memory=128, **common),
    }
    assert config.commands["sh"]["run"] == Command(
        before=Step(box="b", user="root", timeout=2.5),
        steps=(Step(box="a", user="nobody", timeout=1),),
    )


def test_env_holds_what_a_program_can_be_started_with(load):
    text = "x" * 131069
    config = load({**GOOD, BOXES: {"sh": {"image": "codapi/sh", "env": {"A": text}}}})
    assert config.boxes["sh"].env == (f"A={text}",)


def test_env_of_the_default_and_of_the_box_are_merged_by_name(load):
    common = {"A": "1", "B": "2"}
    boxes = {"sh": {"image": "i", "env": {"B": "", "C": "x=y\n"}}, "b": {"image": "i"}}
    config = load({**GOOD, TOP: {"box": {"env": common}}, BOXES: boxes})
    assert config.boxes["sh"].env == ("A=1", "B=", "C=x=y\n")
    assert config.boxes["b"].env == ("A=1", "B=2")


def test_false_and_the_empty_list_are_values(load):
    config = load(
        {
            TOP: {
                "box": {
                    "writable": True,
                    "cap_drop": ["all"],
                    "ulimit": ["nofile=19"],
                    "init": True,
                },
                "step": {"detach": True, "stdin": True},
            },
            BOXES: {
                "sh": {"image": "i", "writable": False, "cap_drop": [], "ulimit": [], "init": False}
            },
            SH: {"run": {"steps": [{**STEP, "detach": False, "stdin": False}]}},
        }
    )
    box, [step] = config.boxes["sh"], config.commands["sh"]["run"].steps
    assert (box.writable, box.cap_drop, box.ulimit, box.init) == (False, (), (), False)
    assert (step.detach, step.stdin) == (False, False)


CODAPIS = {
    "config": {"pool_size": 0, "docker": {"bin": "", "tmp": ""}},
    "box": {
        **dict.fromkeys(["name", "runtime", "storage", "network", "volume", "image"], ""),
        **dict.fromkeys(["cpu", "memory", "nproc"], 0),
    },
    "command": {"engine": "", "entry": ""},
    "step": {"version": "", "user": "", "action": "", "timeout": 0, "noutput": 0},
}
"""The keys of Codapi with the values that it reads as absent."""


def test_zero_and_the_empty_text_of_codapis_keys_count_as_absent(load, tmp_path):
    common = {"image": "common", "cpu": 0.5, "network": "n", "volume": "%s:/x:ro", "storage": "1g"}
    config = load(
        {
            TOP: {**CODAPIS["config"], "box": common, "step": {"user": "u", "noutput": 9}},
            BOXES: {"sh": CODAPIS["box"]},
            SH: {"run": {**CODAPIS["command"], "steps": [{**STEP, **CODAPIS["step"]}]}},
        }
    )
    step = Step(box="sh", command=("sh", "main.sh"), user="u", noutput=9)
    assert config == Config(
        root=str(tmp_path),
        boxes={"sh": BoxSpec(name="sh", **common)},
        commands={"sh": {"run": Command(steps=(step,))}},
    )


def test_zero_of_the_servers_own_keys_is_a_value(load):
    top = {
        "stock_size": 0,
        "queue_timeout": 0,
        "queue_size": 0,
        "cache_size": 0,
        "box": {"warm": 1},
    }
    config = load({**GOOD, TOP: top, BOXES: {"sh": {"image": "i", "warm": 0}}})
    assert (config.stock_size, config.queue_size, config.boxes["sh"].warm) == (0, 0, 0)
    assert config.cache_size == 0


def test_null_counts_as_an_absent_value(load, tmp_path):
    def nulls(kind):
        return dict.fromkeys(kind.model_fields, None)

    config = load(
        {
            TOP: {**nulls(schema.TOP), "box": {"memory": 7, "cpu": None}},
            BOXES: {"sh": {**nulls(schema.BOX), "image": "codapi/sh"}},
            SH: {"run": {**nulls(schema.COMMAND), "steps": [{**nulls(schema.STEP), **STEP}]}},
        }
    )
    assert config == Config(
        root=str(tmp_path),
        boxes={"sh": BoxSpec(name="sh", image="codapi/sh", memory=7)},
        commands={"sh": {"run": Command(steps=(SH_STEP,))}},
    )


# what each key takes


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pool_size", 3),
        ("verbose", True),
        ("work_dir", "/var/tmp/x"),
        ("max_body", 5),
        ("stock_size", 0),
        ("start_timeout", 1),
        ("start_timeout", 90.5),
        ("runs_timeout", 0.5),
    ],
)
def test_value_of_the_top_file_is_in_the_config(load, key, value):
    assert getattr(load({**GOOD, TOP: {key: value}}), key) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", "python"),
        ("image", "a.b_c--d/e__f:V1.2_3"),
        ("image", "Registry.example:5000/codapi/sh@sha256:" + "0a" * 32),
        ("image", "sha256:" + "0a" * 32),
        ("image", "[::1]:5000/sh:latest"),
        ("runtime", "runsc"),
        ("cpu", 0.25),
        ("cpu", 2),
        ("memory", 6),
        ("storage", "1g"),
        ("network", "codapi"),
        ("writable", True),
        ("volume", "%s:/sandbox"),
        ("volume", "%s:/srv/a b:rw,z"),
        ("tmpfs", ["/tmp", "/run:rw,size=16m"]),
        ("cap_add", ["NET_ADMIN"]),
        ("cap_drop", []),
        ("cap_drop", ["all", "CAP_KILL", "Cap_Wake_Alarm"]),
        ("ulimit", ["nofile=16", "stack=-1:-1", "core=0:1"]),
        ("nproc", 1),
        ("files", ["lib/*.py", "data/**"]),
        ("warm", 3),
        ("uses", 100),
        ("init", False),
    ],
)
def test_box_value_is_in_the_config(load, key, value):
    box = load({**GOOD, BOXES: {"sh": {"image": "codapi/sh", key: value}}}).boxes["sh"]
    assert getattr(box, key) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "latest"),
        ("user", "1000:1000"),
        ("action", "run"),
        ("detach", True),
        ("stdin", True),
        ("command", []),
        ("command", ["sh", "-c", "", ":name"]),
        ("timeout", 0.1),
        ("timeout", 60),
        ("noutput", 1),
        ("outputs", ["*.png", "out/**", "**/a b", "...", "[ab]?/x"]),
        ("outputs_size", 1),
        ("outputs_size", 16_384),
        ("outputs_count", 1000),
    ],
)
def test_step_value_is_in_the_config(load, key, value):
    boxes = {"sh": {"image": "codapi/sh", "volume": "%s:/sandbox"}}
    config = load({**GOOD, BOXES: boxes, SH: {"run": {"steps": [{**STEP, key: value}]}}})
    [step] = config.commands["sh"]["run"].steps
    assert getattr(step, key) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    "command",
    [
        {"steps": [STEP]},
        {"entry": "", "steps": [STEP]},
        {"entry": "src/main.sh", "before": STEP, "steps": [STEP, STEP], "after": STEP},
        {"steps": [{"box": "postgres", "action": "exec", "command": ["psql"]}]},
        {"steps": [{**STEP, "detach": True}, {"box": ":name", "action": "stop"}]},
        {"before": {**STEP, "detach": True}, "steps": [EXEC]},
        {"steps": [STEP], "before": {**STEP, "detach": True}, "after": EXEC},
        {"steps": [{"box": "python"}]},
        {"steps": [{"box": "python", "version": "3.12"}]},
        {"steps": [{"box": "sh", "version": "latest"}]},
    ],
)
def test_valid_docker_command_loads(load, command):
    boxes = {"sh": {"image": "i"}, "python:3.12": {"image": "i"}}
    assert load({**GOOD, BOXES: boxes, SH: {"run": command}}).commands["sh"]["run"]


@pytest.mark.parametrize("entry", ["./main.sh", "src/../main.sh", "main.sh/"])
def test_entry_is_normalised(load, entry):
    config = load({**GOOD, SH: {"run": {"entry": entry, "steps": [STEP]}}})
    assert config.commands["sh"]["run"].entry == "main.sh"


@pytest.mark.parametrize("top", [{}, {"http": {}}, {"http": {"hosts": {}}}])
def test_http_command_without_hosts_loads_beside_others(load, top):
    config = load({**GOOD, TOP: top, "configs/commands/http.json": {"run": {"engine": "http"}}})
    assert config.hosts == {}
    assert config.commands["http"]["run"] == Command(engine="http")
    assert config.commands["sh"] == SH_RUN


def test_http_command_needs_no_steps(load):
    hosts = {"httpbin.org": "localhost:8000", "a.com": "a.com", "b.com:81": "[::1]:80"}
    config = load({**GOOD, TOP: {"http": {"hosts": hosts}}, SH: {"run": {"engine": "http"}}})
    assert config.hosts == hosts
    assert config.commands["sh"]["run"] == Command(engine="http")


# the work directory


@pytest.mark.parametrize(
    ("top", "variable", "work_dir"),
    [
        ({}, "", ""),
        ({"work_dir": "/a"}, "", "/a"),
        ({"docker": {"bin": "podman", "tmp": "/b"}}, "", "/b"),
        ({"docker": {"tmp": "/b"}, "work_dir": "/a"}, "", "/a"),
        ({"work_dir": "/a"}, "/c", "/c"),
    ],
)
def test_work_dir_of_the_environment_comes_first(load, monkeypatch, top, variable, work_dir):
    monkeypatch.setenv("CODAPI_WORK_DIR", variable)
    assert load({**GOOD, TOP: top}).work_dir == work_dir


def test_invalid_work_dir_of_the_environment_is_a_problem(problems, monkeypatch):
    monkeypatch.setenv("CODAPI_WORK_DIR", "var/tmp")
    assert problems({}) == [
        "environment: work_dir: must be an absolute path without a colon, not 'var/tmp'"
    ]


# tokens

TOKEN = "must be a text of ASCII characters without white space"


def test_tokens_of_all_sources_count(load, monkeypatch):
    monkeypatch.setenv("CODAPI_TOKENS", "three four")
    top = {"auth": {"tokens": ["one"], "tokens_file": "secrets"}}
    assert load({**GOOD, TOP: top, "secrets": " two\n"}).tokens == ("one", "three", "four", "two")


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ({"tokens": []}, "auth: there is no token: set tokens or tokens_file, or CODAPI_TOKENS"),
        ({"tokens": ["a", "b c"]}, f"auth.tokens[1]: {TOKEN}"),
        ({"tokens": ["geheim", "schlüssel"]}, f"auth.tokens[1]: {TOKEN}"),
        ({"tokens": ["a"], "tokens_file": "x"}, "auth.tokens_file: x: No such file or directory"),
    ],
)
def test_invalid_tokens_are_a_problem(problems, auth, problem):
    assert problems({TOP: {"auth": auth}}) == [f"{TOP}: {problem}"]


@pytest.mark.parametrize("text", ["schlüssel", "good \x7f", "\udcff"])
def test_token_beyond_ascii_is_a_problem_of_its_source(problems, monkeypatch, tmp_path, text):
    (tmp_path / "secrets").write_bytes(text.encode("utf-8", "surrogateescape"))
    monkeypatch.setenv("CODAPI_TOKENS", text)
    problem = "a token may have only ASCII characters"
    assert problems({TOP: {"auth": {"tokens": ["a"], "tokens_file": "secrets"}}}) == [
        f"environment: CODAPI_TOKENS: {problem}",
        f"{TOP}: auth.tokens_file: secrets: {problem}",
    ]


# problems


def one(kind, key, value):
    """Return a file with one wrong value of one kind of object, and where that is."""
    return {
        "top": (TOP, {key: value}, key),
        "box": (BOXES, {"sh": {"image": "codapi/sh", key: value}}, f"sh.{key}"),
        "command": (SH, {"run": {**RUN["run"], key: value}}, f"run.{key}"),
        "step": (SH, {"run": {"steps": [STEP, {**STEP, key: value}]}}, f"run.steps[1].{key}"),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "key", "value", "must"),
    [
        ("top", "pool_size", False, "must be a whole number above 0, not false"),
        ("top", "pool_size", "", "must be a whole number above 0, not ''"),
        ("top", "max_body", 0, "must be a whole number above 0, not 0"),
        ("top", "pool_size", "8", "must be a whole number above 0, not '8'"),
        ("top", "pool_size", True, "must be a whole number above 0, not true"),
        ("top", "pool_size", 2.5, "must be a whole number above 0, not 2.5"),
        ("top", "max_body", -1, "must be a whole number above 0, not -1"),
        ("top", "start_timeout", 0.5, "must be a number of seconds, 1 to 600, not 0.5"),
        ("top", "runs_timeout", 0, "must be a number above 0, up to a million, not 0"),
        ("top", "start_timeout", 601, "must be a number of seconds, 1 to 600, not 601"),
        ("top", "stock_size", -1, "must be a number of boxes, 0 to 1000, not -1"),
        ("top", "cache_size", 1.5, "must be a whole number of MiB, 0 to 65536, not 1.5"),
        ("top", "cache_size", 65537, "must be a whole number of MiB, 0 to 65536, not 65537"),
        ("command", "cache", -1, "must be a number of seconds, 0 to 2592000 (30 days), not -1"),
        (
            "command",
            "cache",
            3e6,
            "must be a number of seconds, 0 to 2592000 (30 days), not 3000000.0",
        ),
        ("command", "cache", True, "must be a number of seconds, 0 to 2592000 (30 days), not true"),
        ("top", "verbose", 1, "must be true or false, not 1"),
        ("top", "work_dir", "tmp", "must be an absolute path without a colon, not 'tmp'"),
        ("top", "work_dir", "/a:b", "must be an absolute path without a colon, not '/a:b'"),
        ("top", "box", [], "must be an object, not []"),
        ("top", "step", "x", "must be an object, not 'x'"),
        ("top", "http", 1, "must be an object, not 1"),
        ("box", "image", 0, IMAGE + "0"),
        ("box", "seccomp", "", "must be a text that is not empty, not ''"),
        ("box", "image", "Python", IMAGE + "'Python'"),
        ("box", "image", "a\0b", IMAGE + "'a\\x00b'"),
        ("box", "env", {"A": 1}, f'{ENV}{{"A": 1}}'),
        ("box", "env", {"A": "a\0b"}, f'{ENV}{{"A": "a\\u0000b"}}'),
        ("box", "env", {"A": None}, f'{ENV}{{"A": null}}'),
        ("box", "env", {"1A": "x"}, f'{ENV}{{"1A": "x"}}'),
        ("box", "env", {"A=B": "x"}, f'{ENV}{{"A=B": "x"}}'),
        ("box", "env", {"": "x"}, f'{ENV}{{"": "x"}}'),
        ("box", "env", {"A\n": "x"}, f'{ENV}{{"A\\n": "x"}}'),
        ("box", "env", {"A": "x" * 131070}, f'{ENV}{{"A": "{"x" * 73}'),
        ("box", "env", {"A": "é" * 65535}, ENV + '{"A": "' + "\\u00e9" * 12 + "\\"),
        ("box", "env", ["A=x"], f'{ENV}["A=x"]'),
        ("box", "network", False, "must be a text that is not empty, not false"),
        ("box", "runtime", 1, "must be a text that is not empty, not 1"),
        ("box", "cpu", -1, "must be a number above 0, up to a million, not -1"),
        ("box", "cpu", "1", "must be a number above 0, up to a million, not '1'"),
        ("box", "cpu", True, "must be a number above 0, up to a million, not true"),
        ("box", "memory", 5, "must be a whole number of MiB, at least 6, not 5"),
        ("box", "memory", 64.5, "must be a whole number of MiB, at least 6, not 64.5"),
        ("box", "memory", "64m", "must be a whole number of MiB, at least 6, not '64m'"),
        ("box", "storage", 1, "must be a text, not 1"),
        ("box", "writable", "no", "must be true or false, not 'no'"),
        ("box", "volume", "/etc:/sandbox", "must be like '%s:/sandbox:ro', not '/etc:/sandbox'"),
        ("box", "volume", "%s:sandbox", "must be like '%s:/sandbox:ro', not '%s:sandbox'"),
        ("box", "volume", "%s:/a:rx", "must be like '%s:/sandbox:ro', not '%s:/a:rx'"),
        ("box", "volume", "%s", "must be like '%s:/sandbox:ro', not '%s'"),
        ("box", "tmpfs", "/tmp", "must be a list, not '/tmp'"),
        ("box", "cap_drop", "all", "must be a list, not 'all'"),
        ("box", "nproc", -1, "must be a whole number, 1 to 4194303, not -1"),
        ("box", "nproc", 4194304, "must be a whole number, 1 to 4194303, not 4194304"),
        ("box", "work_size", 1 << 43, f"must be a whole number of MiB above 0, not {1 << 43}"),
        ("box", "warm", -1, "must be a number of boxes, 0 to 1000, not -1"),
        ("box", "uses", 0, "must be a whole number above 0, not 0"),
        ("box", "init", 0, "must be true or false, not 0"),
        ("command", "engine", "dockr", "must be 'docker' or 'http', not 'dockr'"),
        ("command", "entry", 1, "must be a file's name, like 'main.py' or 'src/main.py', not 1"),
        ("command", "before", [], "must be an object, not []"),
        ("command", "steps", {}, "must be a list, not {}"),
        ("step", "action", "start", "must be 'run', 'exec' or 'stop', not 'start'"),
        ("step", "user", ":70", f"{USER}, not ':70'"),
        ("step", "user", "+5", f"{USER}, not '+5'"),
        ("step", "user", "a:", f"{USER}, not 'a:'"),
        ("step", "version", 3.12, "must be a text, not 3.12"),
        ("step", "detach", "false", "must be true or false, not 'false'"),
        ("step", "command", "sh main.sh", "must be a list, not 'sh main.sh'"),
        ("step", "timeout", -1, "must be a number above 0, up to a million, not -1"),
        ("step", "timeout", 3e6, "must be a number above 0, up to a million, not 3000000.0"),
        ("step", "timeout", "5s", "must be a number above 0, up to a million, not '5s'"),
        ("step", "noutput", -1, "must be a whole number above 0, not -1"),
        ("step", "noutput", 4096.5, "must be a whole number above 0, not 4096.5"),
        ("step", "outputs", "*.png", "must be a list, not '*.png'"),
        ("step", "outputs_size", 16_385, "must be a whole number of KiB, 1 to 16384, not 16385"),
        ("step", "outputs_size", 0, "must be a whole number of KiB, 1 to 16384, not 0"),
        ("step", "outputs_count", 0, "must be a number of files, 1 to 1000, not 0"),
        ("step", "outputs_count", 1001, "must be a number of files, 1 to 1000, not 1001"),
    ],
)
def test_invalid_value_is_a_problem_with_its_file_and_key(problems, kind, key, value, must):
    file, document, where = one(kind, key, value)
    assert problems({file: document}) == [f"{file}: {where}: {must}"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "is no seccomp profile: must be an object with a defaultAction"),
        ("null", "is no seccomp profile: must be an object with a defaultAction"),
        ('{"defaultAction": "SCMP_ACT_LOL"}', "is no seccomp profile"),
        ('{"defaultActoin": "SCMP_ACT_ERRNO", "syscalls": []}', "is no seccomp profile"),
        ("{", "is no JSON"),
    ],
)
def test_seccomp_profile_without_effect_is_a_problem(problems, tmp_path, text, why):
    (path := tmp_path / "profile.json").write_text(text)
    file, document, where = one("box", "seccomp", str(path))
    [problem] = problems({file: document})
    assert problem.startswith(f"{file}: {where}: {path}: {why}")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("entry", name) for name in ("../x", "/etc/passwd", "a/../../b", "a\0b")),
        *(("files", name) for name in ("../x", "/etc/passwd", "a/../b", "a\0b")),
    ],
)
def test_file_outside_the_root_is_a_problem(problems, key, name):
    kind, value = ("command", name) if key == "entry" else ("box", [name])
    file, document, where = one(kind, key, value)
    [problem] = problems({file: document})
    assert problem.startswith(f"{file}: {where}")
    assert repr(name) in problem


@pytest.mark.parametrize(
    "pattern", ["", "/", "/x", "../x", "a/../x", "..", "./x", "a//b", "a/", "a\0b", "a**", "***"]
)
def test_pattern_outside_the_work_directory_is_a_problem(problems, pattern):
    file, document, where = one("step", "outputs", [pattern])
    [problem] = problems({file: document})
    assert problem.startswith(f"{file}: {where}[0]: must be a pattern below the work directory")


def with_outputs(**step):
    return {SH: {"run": {"steps": [{**STEP, "outputs": ["*"], **step}]}}}


READ_ONLY = "in {} the work directory is read-only: set its volume to '%s:/sandbox' (without ro)"
NO_OUTPUTS = "only a run step that is not detached can have outputs: remove them"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            with_outputs(),
            READ_ONLY.format("sh"),
        ),
        (
            {
                BOXES: {
                    "sh": {"image": "i", "volume": "%s:/sandbox"},
                    "sh:2": {"image": "i"},
                    "sh:3": {"image": "i", "volume": "%s:/sandbox:z,ro"},
                },
                **with_outputs(),
            },
            READ_ONLY.format("sh:2, sh:3"),
        ),
        (with_outputs(detach=True), NO_OUTPUTS),
        (with_outputs(action="exec"), NO_OUTPUTS),
        (with_outputs(action="stop"), NO_OUTPUTS),
        # a default of all steps
        (
            {TOP: {"step": {"outputs": ["*"]}}},
            READ_ONLY.format("sh"),
        ),
    ],
)
def test_step_whose_files_cannot_be_read_is_a_problem(problems, files, problem):
    assert problems(files) == [f"{SH}: run.steps[0].outputs: {problem}"]


@pytest.mark.parametrize("name", [".", "a/..", "x" * 256])
def test_entry_that_no_request_could_write_is_a_problem(problems, name):
    file, document, where = one("command", "entry", name)
    [problem] = problems({file: document})
    assert problem.startswith(f"{file}: {where}: must be a file's name")


@pytest.mark.parametrize(
    ("kind", "key", "value", "where"),
    [
        ("box", "ulimit", ["nofile=96", "nofiles=96"], "ulimit[1]: must be like 'nofile=96'"),
        ("box", "ulimit", ["nofile=15:96"], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "ulimit", ["nofile=many"], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "ulimit", ["nofile=99:98"], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "ulimit", ["nofile=-1:8"], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "ulimit", ["nofile=" + "9" * 20], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "ulimit", [96], "ulimit[0]: must be like 'nofile=96'"),
        ("box", "tmpfs", ["tmp"], "tmpfs[0]: must be a path"),
        ("box", "cap_add", ["kill", ""], f"cap_add[1]: {CAPABILITY}''"),
        ("box", "cap_drop", ["net_adm"], f"cap_drop[0]: {CAPABILITY}'net_adm'"),
        ("box", "files", ["a", 1], "files[1]: must be a path inside the root"),
        ("step", "command", ["sh", 1], "command[1]: must be a text, not 1"),
        ("step", "command", ["a\0b"], "command[0]: must be a text"),
        ("command", "steps", [STEP, "sh"], "steps[1]: must be an object, not 'sh'"),
    ],
)
def test_invalid_item_is_a_problem_with_its_place(problems, kind, key, value, where):
    file, document, path = one(kind, key, value)
    [problem] = problems({file: document})
    assert problem.startswith(f"{file}: {path.removesuffix(key)}{where}")


@pytest.mark.parametrize("kind", ["top", "box", "command", "step"])
def test_unknown_key_is_a_problem_that_names_the_known(problems, kind):
    file, document, where = one(kind, "tiemout", 1)
    known = getattr(schema, kind.upper())
    assert problems({file: document}) == [
        f"{file}: {where}: unknown key; known are {', '.join(known.model_fields)}"
    ]


@pytest.mark.parametrize(
    ("top", "where"),
    [
        ({"box": {"memry": 64}}, "box.memry: unknown key"),
        ({"box": {"memory": "64"}}, "box.memory: must be"),
        ({"step": {"timout": 5}}, "step.timout: unknown key"),
        ({"step": {"timeout": None, "noutput": -1}}, "step.noutput: must be"),
        ({"http": {"host": {}}}, "http.host: unknown key"),
        ({"http": {"hosts": ["a"]}}, "http.hosts: must be an object"),
        ({"http": {"hosts": {"a": 1}}}, "http.hosts.a: must be a host, like"),
        ({"http": {"hosts": {"a": ""}}}, "http.hosts.a: must be a host, like"),
        ({"http": {"hosts": {"a": "http://b"}}}, "http.hosts.a: must be a host, like"),
        ({"http": {"hosts": {"a": "b/c"}}}, "http.hosts.a: must be a host, like"),
        ({"http": {"hosts": {"a": "b:65536"}}}, "http.hosts.a: must be a host, like"),
        ({"docker": {"tmp": "x"}}, "docker.tmp: must be"),
        ({"docker": {"pool": 1}}, "docker.pool: unknown key"),
    ],
)
def test_problem_of_a_default_is_one_of_the_top_file(problems, top, where):
    [problem] = problems({TOP: top})
    assert problem.startswith(f"{TOP}: {where}")


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({SH: {"run": {}}}, f"{SH}: run.steps: a docker command needs at least one step"),
        (
            {SH: {"run": {"steps": []}}},
            f"{SH}: run.steps: a docker command needs at least one step",
        ),
        ({SH: {"run": {"steps": [{}]}}}, f"{SH}: run.steps[0].box: no box is given"),
        (
            {SH: {"run": {"steps": [{"box": "perl"}]}}},
            f"{SH}: run.steps[0].box: no box named 'perl'",
        ),
        (
            {SH: {"run": {"before": {"box": "perl"}, "steps": [STEP]}}},
            f"{SH}: run.before.box: no box named 'perl'",
        ),
        (
            {SH: {"run": {"steps": [STEP], "after": {"box": "sh", "version": "9"}}}},
            f"{SH}: run.after.box: no box named 'sh:9'",
        ),
        (
            {SH: {"run": {"steps": [{"box": "db", "action": "exec"}]}}},
            f"{SH}: run.steps[0].command: an exec step needs a command",
        ),
        ({BOXES: {"sh": {}}}, f"{BOXES}: sh.image: no image is given"),
        ({BOXES: {"sh": 5}}, f"{BOXES}: sh: must be an object, not 5"),
        ({SH: {"run": 5}}, f"{SH}: run: must be an object, not 5"),
        (
            {BOXES: {"sh": {"image": "i"}, "s h": {"image": "i"}}},
            f"{BOXES}: s h: 's h' is no box name: use NAME or NAME:VERSION of {ALLOWED}",
        ),
        (
            {BOXES: {"sh": {"image": "i"}, "b": {"image": "i", "name": "sh"}}},
            f"{BOXES}: b: the box 'sh' is in {BOXES} too",
        ),
        (
            {"configs/commands/s h.json": {}},
            f"configs/commands/s h.json: 's h' is no name: use {ALLOWED}",
        ),
        ({SH: {"a/b": RUN["run"]}}, f"{SH}: a/b: 'a/b' is no name: use {ALLOWED}"),
        (
            {TOP: {"stock_size": 3}, BOXES: {"sh": {"image": "i", "warm": 4}}},
            f"{TOP}: stock_size: must be at least 4, the sum of the boxes' warm, not 3",
        ),
        (
            {SH: {"run": {"steps": [{**STEP, "user": "root"}]}}, TOP: {"box": {"uses": 2}}},
            f"{SH}: run.steps[0].user: root cannot run in a box of more than one uses",
        ),
    ],
)
def test_command_that_cannot_work_is_a_problem(problems, files, problem):
    assert problems(files) == [problem]


MODULE = "must be a module's name, like 'numpy' or 'os.path', not "
PYTHON_STEP = {"box": "sh", "command": ["python3", "main.py"], "user": "coder"}


@pytest.mark.parametrize(
    ("preload", "found"),
    [
        (
            {"python": ["numpy"]},
            Preload(python=("numpy",), command=("python3",), user="coder"),
        ),
        ({"python": []}, Preload(python=(), command=("python3",), user="coder")),
        (
            {"command": ["sh", "/wait"]},
            Preload(command=("sh", "/wait"), user="sandbox"),
        ),
        (
            {"command": ["python3", "/wait"], "user": "coder"},
            Preload(command=("python3", "/wait"), user="coder"),
        ),
    ],
)
@pytest.mark.parametrize("place", ["box", "default", "version"])
def test_preload_gets_program_and_user_of_the_step_that_it_waits_for(load, preload, found, place):
    steps = {SH: {"run": {"steps": [STEP]}, "test": {"steps": [PYTHON_STEP]}}}
    files = {**GOOD, **steps}
    name = "sh:1" if place == "version" else "sh"
    if place == "default":
        files[TOP] = {"box": {"preload": preload}}
    else:
        files[BOXES] = {"sh": {"image": "i"}, name: {"image": "i", "preload": preload}}
    assert load(files).boxes[name].preload == found


def test_preload_of_a_box_without_steps_is_ignored(load):
    boxes = {"sh": {"image": "i"}, "unused": {"image": "i", "preload": {"python": []}}}
    assert load({**GOOD, BOXES: boxes}).boxes["unused"].preload is None


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ({"preload": {}}, "sh.preload: must have either python or command"),
        (
            {"preload": {"python": [], "command": ["sh"]}},
            "sh.preload: must have either python or command",
        ),
        ({"preload": []}, "sh.preload: must be an object, not []"),
        ({"preload": {"python": ["a-b"]}}, f"sh.preload.python[0]: {MODULE}'a-b'"),
        ({"preload": {"python": "numpy"}}, "sh.preload.python: must be a list, not 'numpy'"),
        (
            {"preload": {"modules": []}},
            "sh.preload.modules: unknown key; known are python, command, user",
        ),
        (
            {"preload": {"python": []}},
            "sh.preload: no step runs python in this box: remove it, or correct it",
        ),
        (
            {"preload": {"command": ["sh"], "user": "coder"}},
            "sh.preload: no step runs a program as coder in this box: remove it, or correct it",
        ),
        (
            {"preload": {"command": ["sh"]}, "init": False},
            "sh.preload: needs init, which this box cannot have: remove one of them",
        ),
        (
            {"preload": {"command": ["sh"]}, "runtime": "runsc"},
            "sh.preload: needs init, which this box cannot have: remove one of them",
        ),
        (
            {"preload": {"command": ["sh"]}, "cap_add": ["sys_admin"]},
            "sh.preload: needs init, which this box cannot have: remove one of them",
        ),
        (
            {"preload": {"command": ["sh"]}, "ulimit": ["cpu=5"]},
            "sh.preload: cannot be used with the ulimit cpu: remove one of them",
        ),
    ],
)
def test_preload_that_cannot_work_is_a_problem(problems, box, problem):
    assert problems({BOXES: {"sh": {"image": "i", **box}}}) == [f"{BOXES}: {problem}"]


SERVICE = {"image": "i", "service": True}
ONE_CONTAINER = "a service is one container, which runs already: remove it"
FOR_SERVICES = 'is for services: set "service": true, or put it into the step'


@pytest.mark.parametrize("service", [False, True, "lazy"])
def test_service_is_in_the_config(load, service):
    box = {"image": "codapi/sh", "service": service}
    assert load({**GOOD, BOXES: {"sh": {"image": "i"}, "db": box}}).boxes["db"].service == service


def test_command_and_user_of_a_service_are_in_the_config(load):
    box = {**SERVICE, "command": ["postgres", "-F"], "user": "postgres:postgres"}
    found = load({**GOOD, BOXES: {"sh": {"image": "i"}, "db": box}}).boxes["db"]
    assert (found.command, found.user) == (("postgres", "-F"), "postgres:postgres")


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ({"service": "eager"}, "service: must be true, false or 'lazy', not 'eager'"),
        ({"service": 2}, "service: must be true, false or 'lazy', not 2"),
        ({"service": True, "warm": 1}, f"warm: {ONE_CONTAINER}"),
        ({"service": "lazy", "warm": 1}, f"warm: {ONE_CONTAINER}"),
        ({"service": True, "preload": {"command": ["sh"]}}, f"preload: {ONE_CONTAINER}"),
        ({"service": True, "uses": 2}, "uses: a service runs until it ends: remove it"),
        ({"command": ["postgres"]}, f"command: {FOR_SERVICES}"),
        ({"user": "postgres"}, f"user: {FOR_SERVICES}"),
        ({"service": True, "user": "a b"}, f"user: {USER}, not 'a b'"),
    ],
)
def test_box_that_cannot_be_a_service_is_a_problem(problems, box, problem):
    boxes = {"sh": {"image": "i"}, "db": {"image": "i", **box}}
    assert problems({BOXES: boxes}) == [f"{BOXES}: db.{problem}"]


@pytest.mark.parametrize(
    "step",
    [
        {"command": ["true"]},
        {"command": ["true"], "detach": True},
        {"action": "stop"},
    ],
)
@pytest.mark.parametrize("box", ["db", "db:2"])
def test_step_that_does_not_exec_in_a_service_is_a_problem(problems, step, box):
    files = {BOXES: {box: SERVICE}, SH: {"run": {"steps": [{"box": "db", **step}]}}}
    text = "must be exec: box 'db' is a service"
    assert problems(files) == [f"{SH}: run.steps[0].action: {text}"]


UNCACHED = "answers that depend on others cannot be remembered, and "


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({"engine": "http"}, "the http engine asks another server"),
        ({"steps": [STEP, {**EXEC, "box": "redis"}]}, "a step has the action 'exec'"),
        (
            {"before": {"box": "redis", "action": "stop"}, "steps": [STEP]},
            "a step has the action 'stop'",
        ),
        (
            {"steps": [STEP], "after": {"box": "redis", "action": "stop"}},
            "a step has the action 'stop'",
        ),
        ({"before": {**STEP, "detach": True}, "steps": [STEP]}, "a step has detach"),
        ({"steps": [{**STEP, "command": ["echo", "a:name"]}]}, "a step's command has ':name'"),
        ({"steps": [{**STEP, "box": "net"}]}, "box 'net' has the network 'bridge'"),
        ({"steps": [STEP], "after": {**STEP, "box": "net"}}, "box 'net' has the network 'bridge'"),
        ({"steps": [STEP, {**STEP, "box": "c"}]}, "box 'c:2' has the network 'host'"),
    ],
)
def test_answers_that_depend_on_others_cannot_be_remembered(problems, load, command, why):
    boxes = {
        "sh": {"image": "i"},
        "net": {"image": "i", "network": "bridge"},
        "c": {"image": "i"},
        "c:2": {"image": "i", "network": "host"},
    }
    commands = {"run": {**command, "cache": 60}}
    [problem] = problems({BOXES: boxes, SH: commands})
    assert problem == f"{SH}: run.cache: {UNCACHED}{why}: remove it"
    load({**GOOD, BOXES: boxes, SH: {"run": {**command, "cache": 0}}})


def test_step_in_a_pinned_box_without_a_network_may_be_remembered(load):
    boxes = {"sh": {"image": "i"}, "sh:2": {"image": "i", "network": "bridge"}}
    pinned = {**STEP, "version": "latest"}
    config = load({**GOOD, BOXES: boxes, SH: {"run": {"steps": [pinned], "cache": 3600}}})
    assert config.commands["sh"]["run"].cache == 3600


def test_root_may_run_in_a_one_use_version_of_a_reused_box(load):
    boxes = {"sh": {"image": "i", "uses": 2}, "sh:2": {"image": "i"}}
    step = {**STEP, "version": "2", "user": "root"}
    config = load({**GOOD, BOXES: boxes, SH: {"run": {"steps": [step]}}})
    assert config.commands["sh"]["run"].steps[0].runs_as_root


def test_step_needs_a_box_that_a_request_can_select(problems):
    [problem] = problems({BOXES: {"sh:latest": {"image": "i"}}})
    assert problem == f"{SH}: run.steps[0].box: no box named 'sh'"


def test_lone_surrogate_is_a_problem(problems):
    [problem] = problems({SH: r'{"run": {"steps": [{"box": "sh", "command": ["\ud800"]}]}}'})
    assert problem == (
        rf"{SH}: holds '\ud800', half of a surrogate pair: write both halves, or the character"
    )


def test_seccomp_profile_is_read_with_the_config(load, tmp_path):
    (path := tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_LOG"}')
    config = load({**GOOD, BOXES: {"sh": {"image": "i", "seccomp": "profile.json"}}})
    path.unlink()
    assert config.boxes["sh"].seccomp == '{"defaultAction":"SCMP_ACT_LOG"}'


FOLDERS = ["configs/commands", "configs/boxes", "sandboxes", "sandboxes/sh"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_unreadable_folder_is_a_problem(folder):
    # pytest's own directories are closed to other users
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        root = Path(directory)
        root.chmod(0o755)
        (root / "codapi.json").write_text("{}")
        (root / folder).mkdir(parents=True)
        (root / folder).chmod(0)
        stack.callback((root / folder).chmod, 0o700)
        if os.geteuid() == 0:
            # who may read all
            os.seteuid(65534)
            stack.callback(os.seteuid, 0)
        with pytest.raises(ConfigError) as caught:
            load_config(root)
        assert caught.value.problems == [f"{root / folder}: Permission denied"]


@pytest.mark.parametrize("name", ["sandboxes", "configs/boxes"])
def test_file_in_place_of_a_folder_is_ignored(load, tmp_path, name):
    config = load({**GOOD, name: ""})
    assert config.boxes
    assert config.commands


@pytest.mark.parametrize("box", [{"writable": True}, {"volume": "%s:/sandbox"}])
def test_writable_box_cannot_be_reused(problems, box):
    [problem] = problems({BOXES: {"sh": {"image": "i", "uses": 2, **box}}})
    assert problem.startswith(f"{BOXES}: sh.uses: only a box that is not writable")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Empty strings are not legal JSON5"),
        ("{", "line 1: Unexpected end of input at column"),
        ('{"a": 1,\n"b" 2}', 'line 2: Unexpected "2" at column 5'),
        ('{"a": {}, "a": {}}', 'Duplicate key "a" found in object'),
        ("[]", "must be an object, not []"),
        ("null", "must be an object, not null"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        ("[" * 10000, None),
    ],
)
@pytest.mark.parametrize("file", [TOP, BOXES, SH])
def test_broken_file_is_one_problem(problems, file, content, says):
    [problem] = problems({file: content})
    assert problem.startswith(f"{file}: {says or ''}")


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_path_that_is_no_regular_file_is_a_problem(problems, tmp_path, make):
    (tmp_path / "configs/commands").mkdir(parents=True)
    make(tmp_path / "configs/commands/a.json")
    assert problems({}) == ["configs/commands/a.json: cannot be read: it is no file"]


@pytest.mark.parametrize(
    ("steps", "action"),
    [
        ({"steps": [EXEC]}, "exec"),
        ({"steps": [{"box": ":name", "action": "stop"}]}, "stop"),
        ({"steps": [STEP, EXEC]}, "exec"),
        ({"before": EXEC, "steps": [{**STEP, "detach": True}]}, "exec"),
        ({"steps": [STEP], "after": EXEC}, "exec"),
    ],
)
def test_exec_or_stop_without_a_detached_box_is_a_problem(problems, steps, action):
    why = "no step before it detaches a box: there is nothing of this name"
    expected = f"configs/commands/sh.json: run: the step '{action}' in ':name': {why}"
    assert problems({SH: {"run": steps}}) == [expected]


def test_root_without_configs_names_the_directory_and_the_setting(tmp_path):
    with pytest.raises(ConfigError, match="CODAPI_ROOT") as caught:
        load_config(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_problems_of_all_files_are_reported_together(problems):
    found = problems(
        {
            TOP: {"pool_size": -1, "step": {"timeout": -1}, "color": "red"},
            BOXES: {"sh": {"image": "i", "memory": "64m", "cpus": 1}},
            "configs/commands/a.json": "{broken",
            "configs/commands/b.json": {
                "run": {"steps": [{"box": "perl", "timeout": "1"}, {"box": "sh", "usr": "x"}]},
                "test": {"engine": "podman"},
            },
            SH: {"run": {}},
        }
    )
    places = [re.sub(r": (must|unknown|no|line|a docker).*", "", problem) for problem in found]
    assert places == [
        f"{TOP}: pool_size",
        f"{TOP}: step.timeout",
        f"{TOP}: color",
        f"{BOXES}: sh.memory",
        f"{BOXES}: sh.cpus",
        "configs/commands/a.json",
        "configs/commands/b.json: run.steps[0].timeout",
        "configs/commands/b.json: run.steps[1].usr",
        "configs/commands/b.json: run.steps[0].box",
        "configs/commands/b.json: test.engine",
        f"{SH}: run.steps",
    ]


@pytest.mark.parametrize(
    "files",
    [{BOXES: "{"}, {"configs/boxes/a.json": {"image": "i"}, BOXES_SH: "{"}],
    ids=["boxes.json", "boxes"],
)
def test_broken_box_is_not_reported_by_the_commands_that_use_it(problems, files):
    assert len(problems(files)) == 1


def test_broken_top_file_does_not_hide_a_missing_box(problems):
    found = problems({TOP: "{", SH: {"run": {"steps": [{"box": "perl"}]}}})
    assert found[1:] == [f"{SH}: run.steps[0].box: no box named 'perl'"]


OF_ALL_LAYOUTS = {
    "codapi.json": {"box": {"memory": 32}},
    "sandboxes/a/box.json": {"image": "a"},
    "sandboxes/a/commands.json": RUN,
    "configs/boxes/b.json": {"image": "b"},
    "configs/boxes.json": {"sh": {"image": "c"}},
    "configs/commands/b.json": RUN,
}


def test_layouts_beside_each_other_are_all_read(load):
    config = load(OF_ALL_LAYOUTS)
    assert {name: box.image for name, box in config.boxes.items()} == {
        "a": "a",
        "b": "b",
        "sh": "c",
    }
    assert {box.memory for box in config.boxes.values()} == {32}
    assert sorted(config.commands) == ["a", "b"]


@pytest.mark.parametrize(
    ("file", "what", "other"),
    [
        ("configs/boxes/a.json", "box 'a'", "sandboxes/a/box.json"),
        ("configs/boxes/sh.json", "box 'sh'", "configs/boxes.json"),
        ("sandboxes/sh/box.json", "box 'sh'", "configs/boxes.json"),
        ("configs/commands/a.json", "sandbox 'a'", "sandboxes/a/commands.json"),
    ],
)
def test_name_in_two_layouts_is_a_problem_that_names_both_files(load, file, what, other):
    document = {"image": "i"} if what.startswith("box") else RUN
    with pytest.raises(ConfigError) as caught:
        load({**OF_ALL_LAYOUTS, file: document})
    [problem] = caught.value.problems
    assert f"the {what} is in " in problem
    assert file in problem
    assert other in problem


def test_root_without_boxes_names_the_missing_file(load):
    with pytest.raises(ConfigError) as caught:
        load({TOP: {}})
    assert caught.value.problems == [f"{BOXES}: cannot be read: No such file or directory"]


def test_box_in_two_files_is_a_problem(problems):
    files = {name: {"image": "i", "name": "sh"} for name in ("configs/boxes/a.json", BOXES_SH)}
    files[BOXES] = {}
    assert problems(files) == [f"{BOXES_SH}: the box 'sh' is in configs/boxes/a.json too"]


# a request's args


@pytest.mark.parametrize(
    "argv",
    [
        "python main.py :args",
        "sh main.sh :args",
        "/bin/bash -e main.sh :args --last",
        "bash --norc -x main.sh :args",
        "env A=b timeout 5 sh main.sh :args",
        "sh -s -- :args",
        "bash -euo pipefail main.sh :args",
        "bash -euo pipefail -x -- :args",
        "gcc -c :args main.c",
        "python -c print() :args",
        "push -c :args",
        "main.sh -c :args",
        "shc -c :args",
        "sh -c cat",
        "sh -c echo:args",
    ],
)
def test_args_may_stand_where_no_shell_reads_them(load, argv):
    step = {"box": "sh", "command": argv.split()}
    for action in ("run", "exec"):
        load({**GOOD, SH: {"run": {"steps": [{**step, "action": action}]}}})


@pytest.mark.parametrize(
    "argv",
    [
        *(f"{shell} -c :args" for shell in ("sh", "bash", "dash", "ash", "zsh", "ksh", "rbash")),
        *(f"{shell} -c :args" for shell in ("/bin/sh", "/usr/local/bin/bash", "./sh", "bash-5.2")),
        *(f"sh {option} :args" for option in ("-ec", "-lc", "-cx", "+c", "-e -c", "-o errexit -c")),
        "sh -c echo :args",
        "sh -c echo sh :args",
        "sh -e -c echo -- :args",
        "busybox sh -c :args",
        "env sh -c :args",
        "env -i A=b /bin/sh -c :args",
        "timeout -s KILL 5 nice -n 5 bash -lc :args",
        "su sandbox -c :args",
        "fish --command :args",
        # args that are options of the shell: -c
        "sh :args",
        "sh -e :args",
        "bash --norc :args main.sh",
        "sh -s :args",
        "env -- sh :args",
        "timeout 5 -- bash -e :args",
        "bash -euo pipefail :args",
        "bash +O extglob :args",
        "bash --rcfile main.sh :args",
        # these have a shell execute the line, or the options, that follow
        "su sandbox :args",
        "su sandbox -s /bin/bash main.sh :args",
        "runuser -u sandbox -- :args",
        "/usr/sbin/runuser sandbox -c :args",
        "env sh :args -c x",
        # a single word, which env splits
        "env -S 'bash -c' :args",
    ],
)
def test_args_in_a_shells_line_or_options_are_a_problem(problems, argv):
    step = {"box": "sh", "command": shlex.split(argv)}
    key = f"{SH}: run.steps[1].command"
    assert problems({SH: {"run": {"steps": [STEP, step]}}}) == [f"{key}: {ARGS_IN_SHELL}"]


AROUND = "before and after cannot have ':args': a request's args are for steps that run or exec"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ({"before": {"command": ["a", ":args"]}}, f"run.before.command: {AROUND}"),
        ({"after": {"command": ["a", ":args"]}}, f"run.after.command: {AROUND}"),
        (
            {"steps": [STEP, {"action": "stop", "command": ["a", ":args"]}]},
            f"run.steps[1].command: {AROUND.replace('before and after', 'a stop step')}",
        ),
        (
            {"steps": [{"command": [":args"]}]},
            "run.steps[0].command: ':args' must not be the program: put that in front of it",
        ),
        (
            {"steps": [{"command": ["a", ":args", "b", ":args"]}]},
            "run.steps[0].command: ':args' must be there only once",
        ),
    ],
)
def test_misplaced_args_are_a_problem(problems, command, text):
    top = {"step": {"box": "sh"}}
    assert problems({TOP: top, SH: {"run": {"steps": [STEP], **command}}}) == [f"{SH}: {text}"]


def test_args_in_the_default_of_all_steps_are_checked(problems):
    top = {"step": {"command": ["sh", "-c", ":args"]}}
    found = problems({TOP: top, SH: {"run": {"steps": [{"box": "sh"}]}}})
    assert found == [f"{SH}: run.steps[0].command: {ARGS_IN_SHELL}"]


def test_file_may_name_its_schema(load):
    own = {"$schema": "https://example.org/schema.json"}
    config = load({name: {**own, **document} for name, document in GOOD.items()})
    assert [*config.commands] == [*config.boxes] == ["sh"]
