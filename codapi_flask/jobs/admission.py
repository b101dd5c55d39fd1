"""Admission of requests: to a job in which every name is one of the config's."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from codapi_flask import files
from codapi_flask.config.model import ARGS, Command, Config
from codapi_flask.config.names import safe
from codapi_flask.config.problems import join
from codapi_flask.errors import FileError, RequestError
from codapi_flask.jobs.request import Request
from codapi_flask.models import Input, Job

MAX_SHOWN = 100
"""Characters of a client's text that an error repeats."""

NO_INPUT = "the last step of this command does not read input"
READS_FILES = "the last step of this command reads the files from its stdin, so it takes no other"
NO_FILES = "this command gives no files back: leave it out"
NO_ARGS = f"this command takes none, as its config has no place for them ({ARGS!r})"


class Admission:
    """Admits requests for the sandboxes of a config."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def admit(self, request: Request, is_live: bool = False) -> Job:
        """Turn a request into a job with an id of its own; `is_live` is the job's.

        Raises:
            RequestError: there is no such sandbox, command or box, nothing to run, two files of
                one name, or the command does not take such input, or gives no files back.
        """
        commands = self._config.commands.get(request.sandbox)
        if commands is None:
            raise RequestError("unknown", "unknown sandbox")
        command = commands.get(request.command)
        if command is None:
            raise RequestError("unknown", "unknown command")
        runs = [step for step in command.all_steps() if step.action == "run"]
        names = [step.box_name(request.version) for step in runs]
        missing = next((name for name in names if name not in self._config.boxes), None)
        # a version that picks no box is the client's text: kept out of ids and logs
        picks = not missing and any(not step.version for step in runs)
        version = request.version if picks else ""
        sandbox = f"{request.sandbox}.{version}" if version else request.sandbox
        # a name, no secret: to ask the system would hand the interpreter to another thread
        id = f"{safe(sandbox)}_{safe(request.command)}_{random.getrandbits(32):08x}"
        if len(request.files) < 2 and not "".join(request.files.values()).strip():
            raise RequestError("malformed", "empty request", id)
        if missing:
            raise RequestError("no box", f"unknown box {missing[:MAX_SHOWN]}", id)
        if request.outputs and not command.gives_files:
            raise RequestError("malformed", f"outputs: {NO_FILES}", id)
        named: Mapping[str, str] = request.files
        if command.entry:
            try:
                named = _normalise(request.files, command.entry)
            except FileError as error:
                raise RequestError("malformed", str(error), id) from None
        try:
            input, inputs = _inputs(command, request)
        except ValueError as error:
            raise RequestError("malformed", str(error), id) from None
        return Job(
            id,
            request.sandbox,
            request.command,
            version,
            named,
            input,
            inputs,
            request.outputs,
            is_live,
        )


def _inputs(command: Command, request: Request) -> tuple[Input, tuple[Input, ...]]:
    """Return a request's input and that of each of its runs.

    Raises:
        ValueError: the command does not take it.
    """
    if request.runs is None:
        return _input(command, request.stdin or "", request.args), ()
    if request.stdin or request.args:
        raise ValueError("runs: put stdin and args into each of them, not beside them")
    if not command.input_step:
        raise ValueError(f"runs: {NO_INPUT}")
    inputs = []
    for number, run in enumerate(request.runs):
        if run.args and not command.input_step.takes_args:
            raise ValueError(f"{join('runs', number, 'args')}: {NO_ARGS}")
        inputs.append(_input(command, run.stdin or "", run.args, ("runs", number)))
    return Input(), tuple(inputs)


def _input(
    command: Command, stdin: str, args: Sequence[str], place: Sequence[str | int] = ()
) -> Input:
    if args and not command.takes_args:
        raise ValueError(f"{join(*place, 'args')}: {NO_ARGS}")
    try:
        if stdin and not command.takes_stdin:
            raise ValueError(READS_FILES if command.input_step else NO_INPUT)
        return Input(files.to_bytes(stdin), tuple(map(files.valid, args)))
    except ValueError as error:
        raise ValueError(f"{join(*place, 'stdin')}: {error}") from None


def _normalise(given: Mapping[str, str], entry: str) -> dict[str, str]:
    """Return files by normalised names; the entry's `""` and invalid ones stay for the engine.

    Raises:
        FileError: two names are one file's.
    """
    names: dict[str, str] = {}
    for name in given:
        path = files.normalise(name or entry)
        if path in names:
            raise FileError(name, f"the same file as files[{names[path][:MAX_SHOWN]}]")
        names[path] = name
    return {name and path: given[name] for path, name in names.items()}
