"""`codapi mcp`: serve coding assistants with the Model Context Protocol, on stdin and stdout."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import click
from pydantic import BaseModel, ConfigDict, Field

from codapi_flask.cli.output import Failure, choose_target, target_options

if TYPE_CHECKING:
    from codapi_flask.client.target import Answer, Target

T = TypeVar("T")

INSTRUCTIONS = (
    "Runs code in isolated sandboxes: without a network, with limits on time, memory and output. "
    "Ask list_sandboxes for the names first. Each run starts anew; nothing stays."
)

NO_EXTRA = "codapi mcp needs the SDK of the protocol: pip install 'codapi_flask[mcp]'"

NOTED = "timeout", "memory", "cpu"
"""The reasons that the server explains with a text of its own."""


class Ran(BaseModel):
    """How a program ended."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    ok: bool
    """Whether the program succeeded."""

    reason: str
    """ok, exit (another status), signal, timeout, memory, cpu or error."""

    exit_code: int | None
    """That of a shell; null if there is none."""

    stdout: str
    stderr: str

    files: dict[str, str]
    """What the program wrote, by name: text, or a data: URL."""


@click.command()
@target_options
def mcp(**where: Any) -> None:
    r"""Serve coding assistants with the Model Context Protocol, on stdin and stdout.

    \b
    claude mcp add sandboxes -- codapi mcp --root /opt/codapi
    codapi mcp --server https://codapi.example.org

    An assistant starts this command itself, and gets the tools list_sandboxes and run. Without
    --server the requests go to a server on this host, or are executed here, up to pool_size at
    once.
    """
    try:
        import anyio
        from mcp.server.mcpserver import MCPServer
    except ModuleNotFoundError as error:
        raise Failure(NO_EXTRA) from error
    target = choose_target(**where, size=None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: _end(target, 128 + number))
    tools = Tools(target)
    server = MCPServer(
        "codapi",
        title="Codapi sandboxes",
        instructions=INSTRUCTIONS,
        version=version("codapi_flask"),
        log_level="WARNING",
    )
    server.add_tool(tools.list_sandboxes)
    server.add_tool(tools.run)
    status = 1
    try:
        anyio.run(server.run_stdio_async)
        status = 0
    finally:
        _end(target, status)


class Tools:
    """What an assistant can call: methods with the texts that it reads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._with_files: set[tuple[str, str]] | None = None

    async def list_sandboxes(self) -> list[dict[str, Any]]:
        """List the sandboxes with their commands.

        Each command has its versions, and tells whether it takes stdin and args, whether files come
        back (outputs), and whether it is installed.
        """
        shown = []
        for sandbox in await self._in_thread(self._target.sandboxes):
            shown.append({key: sandbox[key] for key in ("name", "title", "commands")})
        return shown

    async def run(
        self,
        sandbox: Annotated[str, Field(description="name of the sandbox, such as python")],
        code: Annotated[str, Field(description="the program")],
        command: Annotated[str, Field(description="command of the sandbox")] = "run",
        files: Annotated[
            dict[str, str] | None,
            Field(description="files beside the program: text, or a data: URL, by name"),
        ] = None,
        stdin: Annotated[str, Field(description="the program's stdin")] = "",
        args: Annotated[list[str] | None, Field(description="the program's arguments")] = None,
        version: Annotated[str, Field(description="version, if the command has several")] = "",
    ) -> Ran:
        """Run a program in a sandbox, and return what it printed and how it ended."""
        request = {
            "sandbox": sandbox,
            "command": command,
            "files": {**(files or {}), "": code},
            "stdin": stdin,
            "args": args or [],
            "version": version,
        }
        return await self._in_thread(partial(self._execute, request))

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Call a function in a thread, which a client that goes away does not wait for.

        Raises:
            ToolError: the request cannot be executed; the assistant reads why.
        """
        from anyio import to_thread
        from mcp.server.mcpserver.exceptions import ToolError

        from codapi_flask.client.target import TargetError

        try:
            return await to_thread.run_sync(call, abandon_on_cancel=True)
        except TargetError as error:
            raise ToolError(str(error)) from error

    def _execute(self, request: dict[str, Any]) -> Ran:
        """Execute a request.

        Raises:
            TargetError: it is refused, or cannot be executed.
        """
        from codapi_flask.client.target import TargetError

        request["outputs"] = self._gives_files(request["sandbox"], request["command"])
        answer = self._target.execute(request)
        if not answer.was_executed and not answer.ok:
            said = answer.body["stderr"]
            hint = ": list_sandboxes has the names" if said.startswith("unknown ") else ""
            raise TargetError(f"{said}{hint}")
        return _ran(answer)

    def _gives_files(self, sandbox: str, command: str) -> bool:
        if self._with_files is None:
            self._with_files = {
                (each["name"], offer["name"])
                for each in self._target.sandboxes()
                for offer in each["commands"]
                if offer["outputs"]
            }
        return (sandbox, command) in self._with_files


def _ran(answer: Answer) -> Ran:
    # a server of Codapi gives no details
    without = {"reason": "ok", "exit_code": 0, **answer.body}
    details: Mapping[str, Any] = answer.body.get("details", without)
    stderr, reason = details["stderr"], details["reason"]
    if reason in NOTED:
        # what the server says: of a timeout it is all, otherwise the first line
        stderr += answer.body["stderr"].partition("\n")[0]
    files = {name: _shown(url) for name, url in answer.body.get("files", {}).items()}
    return Ran(
        ok=answer.ok,
        reason=reason,
        exit_code=details["exit_code"],
        stdout=details["stdout"],
        stderr=stderr,
        files=files,
    )


def _shown(url: str) -> str:
    """Return a file of an answer as text, if it is one, else as the `data:` URL that it is."""
    from codapi_flask.files import to_bytes

    try:
        return to_bytes(url).decode()
    except UnicodeDecodeError:
        return url


def _end(target: Target, status: int) -> None:
    """End this process: a thread may still wait for stdin, or for a server."""
    try:
        target.close()
    finally:
        os._exit(status)
