"""`codapi mcp` with the SDK's own client over stdio, on the real engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest

from tests.cli.conftest import CODAPI
from tests.support.configs import BOXES, COMMANDS, PLOT
from tests.support.instance import docker
from tests.support.programs import INTERVAL, Sleep, most_at_once
from tests.support.server import REPOSITORY, wait_for

pytestmark = pytest.mark.docker

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def call(sandbox, code, **more):
    """Return the message that calls the tool `run`."""
    params = {"name": "run", "arguments": {"sandbox": sandbox, "code": code, **more}}
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}


@pytest.fixture
def variables(tmp_path):
    """Return the environment of the command."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CODAPI_")}
    return {**own, "PYTHONPATH": str(REPOSITORY), "CODAPI_WORK_DIR": str(tmp_path / "work")}


@pytest.fixture
def here(root):
    """Return a root with `sh`, `python` and the repository's `plot`."""
    commands = COMMANDS | {"plot": PLOT["commands"]}
    return root(BOXES | {"plot": PLOT["box"]}, commands, pool_size=2, step={"timeout": 2})


@pytest.fixture
def assistant(here, variables):
    """Return a function that has a coroutine function use a connected client."""
    mcp = pytest.importorskip("mcp")
    parameters = mcp.StdioServerParameters(
        command=CODAPI[0],
        args=[*CODAPI[1:], "mcp", "--local", "--root", str(here)],
        env=variables,
    )

    @asynccontextmanager
    async def client():
        async with mcp.Client(parameters) as client:
            yield client

    def use(function):
        async def main():
            async with client() as connected:
                return await function(connected)

        return asyncio.run(main())

    return use


@pytest.fixture
def run(assistant):
    """Return a function that calls the tool `run` of a server of its own."""

    def call_run(sandbox, code, **more):
        arguments = {"sandbox": sandbox, "code": code, **more}
        return assistant(lambda client: client.call_tool("run", arguments))

    return call_run


@pytest.fixture
def process(here, variables):
    """Return `codapi mcp`, to which a client without the SDK has said hello."""
    pytest.importorskip("mcp")
    command = [*CODAPI, "mcp", "--local", "--root", str(here)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=variables, **pipes) as process:
        send(process, INITIALIZE)
        assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "codapi"
        send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield process
        process.kill()


def send(process, message):
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def containers(work):
    found = docker("ps", "--all", "--format", '{{.Label "codapi.instance"}}')
    return [path for path in found.splitlines() if path.startswith(f"{work}/")]


def test_sandboxes_are_listed_with_what_they_take(assistant):
    async def use(client):
        tools = await client.list_tools()
        return [tool.name for tool in tools.tools], await client.call_tool("list_sandboxes", {})

    names, result = assistant(use)
    assert names == ["list_sandboxes", "run"]
    sandboxes = {each["name"]: each for each in result.structured_content["result"]}
    assert sorted(sandboxes) == ["plot", "python", "sh"]
    [offer] = sandboxes["sh"]["commands"]
    assert (offer["name"], offer["args"], offer["installed"]) == ("run", True, True)


ENDS = [
    ("echo out; echo err >&2", True, "ok", 0, "out\n", "err\n"),
    ("echo out; echo err >&2; exit 3", False, "exit", 3, "out\n", "err\n"),
    ("kill -9 $$", False, "signal", 137, "", ""),
    ("echo out; sleep 9", False, "timeout", None, "out\n", "code execution timeout"),
    (
        "text=1234567890123456; while :; do text=$text$text; done",
        False,
        "memory",
        137,
        "",
        "out of memory (64 MiB)",
    ),
]


@pytest.mark.parametrize(("code", "ok", "reason", "exit_code", "stdout", "stderr"), ENDS)
def test_program_ends(run, code, ok, reason, exit_code, stdout, stderr):
    result = run("sh", code)
    assert not result.is_error
    assert result.structured_content == {
        "ok": ok,
        "reason": reason,
        "exit_code": exit_code,
        "stdout": stdout,
        "stderr": stderr,
        "files": {},
    }


def test_program_gets_files_stdin_and_args(run):
    code = '. ./greet.sh; read name; greet $name "$1"'
    files = {"greet.sh": 'greet() { echo "hello $1 $2"; }'}
    result = run("sh", code, files=files, stdin="ada\n", args=["x y"])
    assert result.structured_content["stdout"] == "hello ada x y\n"


def test_files_of_the_program_come_back_as_text_or_as_url(run):
    code = "open('a.svg', 'w').write('<svg/>'); open('b.png', 'wb').write(b'\\xff')"
    files = run("plot", code).structured_content["files"]
    assert (files["a.svg"], files["b.png"][:5]) == ("<svg/>", "data:")


@pytest.mark.parametrize(
    ("sandbox", "more", "text"),
    [
        ("cobol", {}, "unknown sandbox: list_sandboxes has the names"),
        ("sh", {"command": "fly"}, "unknown command: list_sandboxes has the names"),
        ("sh", {"version": "9"}, "unknown box sh:9"),
    ],
)
def test_request_that_is_refused_is_an_error_that_the_assistant_reads(run, sandbox, more, text):
    result = run(sandbox, "echo", **more)
    assert (result.is_error, text in result.content[0].text) == (True, True)


def test_two_runs_are_executed_at_once(assistant):
    async def use(client):
        arguments = {"sandbox": "sh", "code": INTERVAL.replace("0.2", "1")}
        return await asyncio.gather(*(client.call_tool("run", arguments) for _ in range(2)))

    spans = [result.structured_content["stdout"].split() for result in assistant(use)]
    assert most_at_once((int(start), int(end)) for start, end in spans) == 2


def test_server_executes_if_it_is_named(server, variables):
    mcp = pytest.importorskip("mcp")
    arguments = [*CODAPI[1:], "mcp", "--server", server.url]

    async def main():
        parameters = mcp.StdioServerParameters(command=CODAPI[0], args=arguments, env=variables)
        async with mcp.Client(parameters) as client:
            return await client.call_tool("run", {"sandbox": "sh", "code": "echo hello"})

    assert asyncio.run(main()).structured_content["stdout"] == "hello\n"


@pytest.mark.parametrize("way", ["eof", signal.SIGTERM, signal.SIGINT])
def test_client_that_goes_away_ends_the_process_and_its_program(process, tmp_path, way):
    program = Sleep(60)
    send(process, call("sh", program.text))
    wait_for(program.runs)
    start = time.monotonic()
    process.stdin.close() if way == "eof" else process.send_signal(way)
    status = process.wait(20)
    assert status == (0 if way == "eof" else 128 + way)
    # less than the program's timeout
    assert time.monotonic() - start < 1.9
    assert not program.runs()
    work = tmp_path / "work"
    wait_for(lambda: not containers(work))
    assert [path.name for path in work.iterdir()] == ["lock"]


def test_stdout_has_only_the_protocol(process):
    send(process, call("sh", "echo out; echo err >&2"))
    assert json.loads(process.stdout.readline())["id"] == 2
    process.stdin.close()
    assert process.stdout.read() == ""


def test_missing_extra_is_named_with_the_command_that_installs_it(codapi, tmp_path):
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError('mcp', name='mcp')")
    status, stdout, stderr = codapi("mcp", env={"PYTHONPATH": f"{tmp_path}:{REPOSITORY}"})
    text = "codapi: codapi mcp needs the SDK of the protocol: pip install 'codapi_flask[mcp]'\n"
    assert (status, stdout, stderr) == (125, "", text)


def test_nothing_else_imports_the_extra():
    modules = "server.process", "cli.exec", "cli.ls", "cli.doctor", "doctor.examination"
    code = "; ".join(f"import codapi_flask.{module}" for module in modules)
    code += "; import sys; print([name for name in sys.modules if name.startswith('mcp')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
