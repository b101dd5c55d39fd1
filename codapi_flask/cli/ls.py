"""`codapi ls`: show the sandboxes."""

from __future__ import annotations

from typing import Any

import click

from codapi_flask.cli.output import Failure, choose_target, print_json, target_options

INSTALLED = {True: "installed", False: "not installed", None: "unknown"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON, as GET /v1/sandboxes gives it")
@target_options
def ls(as_json: bool, **where: Any) -> None:
    r"""Show the sandboxes of a server, or of the configs here, with their commands and versions.

    \b
    codapi ls
    codapi ls --server https://codapi.example.org --json
    """
    from codapi_flask.client.target import TargetError

    target = choose_target(**where)
    try:
        sandboxes = target.sandboxes()
    except TargetError as error:
        raise Failure(str(error)) from error
    finally:
        target.close()
    if as_json:
        print_json({"sandboxes": sandboxes})
        return
    rows: list[tuple[str, ...]] = [("SANDBOX", "COMMAND", "TAKES", "VERSIONS", "STATE", "TITLE")]
    rows += [_row(sandbox, command) for sandbox in sandboxes for command in sandbox["commands"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.secho("  ".join(cells).rstrip(), bold=row is rows[0], dim=row[4] == INSTALLED[False])


def _row(sandbox: dict[str, Any], command: dict[str, Any]) -> tuple[str, ...]:
    takes = [name for name in ("stdin", "args", "outputs") if command[name]]
    versions = ",".join(command["versions"])
    state = INSTALLED[command["installed"]]
    return sandbox["name"], command["name"], ",".join(takes), versions, state, sandbox["title"]
