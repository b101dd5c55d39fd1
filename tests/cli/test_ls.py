import json

import pytest

from tests.cli.conftest import on_terminal

pytestmark = pytest.mark.docker


def test_sandboxes_of_a_server_are_shown(codapi, server):
    status, stdout, _ = codapi("ls", "--server", server.url)
    rows = [line.split() for line in stdout.splitlines()]
    assert status == 0
    assert rows[0] == ["SANDBOX", "COMMAND", "TAKES", "VERSIONS", "STATE", "TITLE"]
    assert ["sh", "run", "stdin,args", "installed", "sh"] in rows


def test_sandboxes_of_the_configs_here_tell_what_is_not_installed(codapi, root):
    boxes = {
        "sh": {"image": "codapi/sh"},
        "sh:2": {"image": "codapi/none"},
        "no": {"image": "codapi/none"},
    }
    steps = {name: [{"box": name, "command": ["sh", "main.sh"]}] for name in ("sh", "no")}
    commands = {name: {"run": {"entry": "main.sh", "steps": steps[name]}} for name in steps}
    here = root(boxes, commands)
    status, stdout, _ = codapi("ls", "--local", "--root", str(here))
    rows = [line.split(maxsplit=3) for line in stdout.splitlines()[1:]]
    assert (status, rows) == (
        0,
        [
            ["no", "run", "stdin", "not installed  no"],
            ["sh", "run", "stdin", "2         installed      sh"],
        ],
    )


def test_json_is_that_of_the_api(codapi, server):
    status, stdout, _ = codapi("ls", "--json", "--server", server.url)
    assert (status, json.loads(stdout)) == (0, server.request("GET", "/v1/sandboxes").json())


def test_terminal_gets_colours_and_a_pipe_none(codapi, server, tmp_path):
    words = ["ls", "--server", server.url]
    assert "\x1b[1m" in on_terminal(words, tmp_path).stdout
    assert "\x1b" not in codapi(*words).stdout
