"""What all subcommands share: failures, the root, the target of requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from codapi_flask.client.target import Target

DEFAULT_SERVER = "http://localhost:1313"

FAILED, UNUSABLE = 1, 125
"""Exit statuses: what was checked is not right; nothing could be executed."""

F = TypeVar("F", bound=Callable[..., Any])


class Failure(Exception):
    """A subcommand cannot go on; the text says why, and what to do."""

    def __init__(self, text: str, status: int = UNUSABLE) -> None:
        self.status = status
        super().__init__(text)


def root_option(function: F) -> F:
    """Add `--root`, the directory that holds the configs."""
    kind = click.Path(exists=True, file_okay=False, path_type=Path)
    text = "directory that holds the configs (default: the current one)"
    return click.option("--root", type=kind, default=".", envvar="CODAPI_ROOT", help=text)(function)


def target_options(function: F) -> F:
    """Add the options that choose a target: `--server`, `--token`, `--local`, `--root`."""
    add = click.option
    for option in (
        add("--local", is_flag=True, help="use the configs here, without a server"),
        add("--token", default="", envvar="CODAPI_TOKEN", help="token of the server"),
        add("--server", default="", envvar="CODAPI_SERVER", help=f"URL ({DEFAULT_SERVER})"),
        root_option,
    ):
        function = option(function)
    return function


def choose_target(server: str, token: str, local: bool, root: Path, size: int | None = 1) -> Target:
    """Return the server that is named, else one on this host, else this process.

    Raises:
        Failure: none can be used.
    """
    # they take a quarter of a second to import
    from codapi_flask.client.choice import choose
    from codapi_flask.client.target import TargetError

    if server and local:
        raise click.UsageError("--server and --local exclude each other")
    try:
        return choose(server, token, local, root, size)
    except TargetError as error:
        raise Failure(str(error)) from error


def print_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
