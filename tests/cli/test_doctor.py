"""`codapi doctor`, in a pipe and on a terminal, on this host and with daemons that are no use."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from tests.cli.conftest import on_terminal
from tests.support.daemon import Daemon
from tests.support.instance import docker

pytestmark = pytest.mark.docker


@pytest.fixture
def doctor(codapi, root, tmp_path):
    """Return a function that runs `codapi doctor` with a daemon that renames some words."""

    def run(*words, renamed=None, **env):
        with closing(Daemon(tmp_path / "docker.sock", renamed)) as daemon:
            env = {"DOCKER_HOST": daemon.address, **env}
            return codapi("doctor", *words, "--root", str(root()), env=env)

    return run


def test_host_of_the_tests_has_nothing_broken_and_nothing_is_left(codapi, root, tmp_path):
    status, stdout, stderr = codapi("doctor", "--root", str(root()))
    assert (status, stderr) == (0, ""), stdout
    lines = stdout.splitlines()
    assert any(line.startswith("memory         fine    a program that takes") for line in lines)
    assert lines[-1].endswith(" 0 broken")
    assert "\x1b" not in stdout
    work = tmp_path / "work"
    assert [path.name for path in work.iterdir()] == ["lock"]
    assert str(work) not in docker("ps", "--all", "--format", '{{.Label "codapi.instance"}}')


def test_json_has_every_finding(codapi, root):
    status, stdout, _ = codapi("doctor", "--json", "--root", str(root()))
    findings = json.loads(stdout)["findings"]
    assert status == 0
    assert {"check", "verdict", "text", "remedy"} == set(findings[0])
    assert {"daemon", "memory", "seccomp", "warm start"} <= {each["check"] for each in findings}


def test_limit_that_is_not_enforced_has_status_1_and_a_remedy(doctor):
    status, stdout, _ = doctor(renamed={b'"PidsLimit"': b'"XidsLimit"'})
    lines = stdout.splitlines()
    [index] = [i for i, line in enumerate(lines) if line.startswith("processes ")]
    assert (status, "broken  a program started 100 processes" in lines[index]) == (1, True)
    assert lines[index + 1].strip().startswith("to mend it: pids: ")
    # what follows is tried, too
    assert any(line.startswith("seccomp ") for line in lines)


@pytest.mark.parametrize(
    ("env", "renamed", "text"),
    [
        ({"DOCKER_HOST": "unix:///no/daemon"}, {}, "no Docker daemon answers at unix:///no/daemon"),
        ({}, {b'"ApiVersion":"1.41"': b'"ApiVersion":"1.20"'}, "is too old"),
        ({}, {b'"ApiVersion":"1.41"': b'"ApiVersion":"nine"'}, "is not that of a Docker daemon"),
    ],
)
def test_daemon_that_cannot_be_used_has_a_status_of_its_own(doctor, env, renamed, text):
    status, stdout, stderr = doctor("--json", renamed=renamed, **env)
    findings = json.loads(stdout)["findings"]
    assert (status, stderr) == (125, "")
    assert (findings[-1]["check"], findings[-1]["verdict"]) == ("daemon", "broken")
    assert text in findings[-1]["text"]


def test_daemon_that_hangs_has_a_status_of_its_own(codapi, root, tmp_path):
    with closing(Daemon(tmp_path / "docker.sock")) as daemon, daemon.hanging():
        env = {"DOCKER_HOST": daemon.address, "CODAPI_TEST_TIMEOUTS": '{"call": 0.3}'}
        status, stdout, _ = codapi("doctor", "--json", "--root", str(root()), env=env)
    *_, last = json.loads(stdout)["findings"]
    assert (status, last["check"], last["verdict"]) == (125, "daemon", "broken")
    assert "timed out" in last["text"].lower()


def test_terminal_gets_colours_and_sees_what_is_tried(root, tmp_path, monkeypatch):
    monkeypatch.setenv("CODAPI_WORK_DIR", str(tmp_path / "work"))
    status, printed, _ = on_terminal(["doctor", "--root", str(root())], tmp_path)
    assert (status, "\x1b[32mfine  \x1b[0m" in printed) == (0, True)
    # what was shown before is erased
    assert "timeout        …\x1b[0m\r\x1b[K" in printed
    assert printed.splitlines()[-1].endswith(" 0 broken")
