"""Admission of requests: to a job in which every name is one of the config's."""

from __future__ import annotations

import random
from collections.abc import Mapping

from codapi_flask import files
from codapi_flask.config.model import Config
from codapi_flask.config.names import safe
from codapi_flask.errors import FileError, RequestError
from codapi_flask.jobs.request import Request
from codapi_flask.models import Job

MAX_SHOWN = 100
"""Characters of a client's text that an error repeats."""


class Admission:
    """Admits requests for the sandboxes of a config."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def admit(self, request: Request) -> Job:
        """Turn a request into a job with an id of its own.

        Raises:
            RequestError: there is no such sandbox, command or box, nothing to run, or two files
                of one name.
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
        named: Mapping[str, str] = request.files
        if command.entry:
            try:
                named = _normalise(request.files, command.entry)
            except FileError as error:
                raise RequestError("malformed", str(error), id) from None
        return Job(id, request.sandbox, request.command, version, named)


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
