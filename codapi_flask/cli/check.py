"""`codapi check`: check the config files."""

from __future__ import annotations

from pathlib import Path

import click

from codapi_flask.cli.output import FAILED, Failure, print_json, root_option


@click.command()
@click.option(
    "--explain",
    nargs=2,
    metavar="SANDBOX COMMAND",
    help="show each step's settings, and where each value comes from",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@root_option
def check(explain: tuple[str, str] | None, as_json: bool, root: Path) -> None:
    r"""Check the config files: every problem, with its file and key.

    \b
    codapi check
    codapi check --explain python run

    The status is 1 if there are problems.
    """
    from codapi_flask.config.explain import explained
    from codapi_flask.config.load import load_config
    from codapi_flask.errors import ConfigError

    try:
        config = load_config(root.resolve())
    except ConfigError as error:
        if as_json:
            print_json({"problems": error.problems})
            raise SystemExit(FAILED) from None
        raise Failure("\n  ".join(["the config has errors:", *error.problems]), FAILED) from None
    if not explain:
        commands = sum(map(len, config.commands.values()))
        counts = f"{len(config.commands)} sandboxes, {commands} commands, {len(config.boxes)} boxes"
        print_json({"problems": []}) if as_json else click.echo(f"the config is right: {counts}")
        return
    sandbox, command = explain
    try:
        steps = explained(config, sandbox, command)
    except KeyError as error:
        raise Failure(f"there is no {error.args[0]} in the config", FAILED) from None
    if as_json:
        print_json({"steps": [step.document() for step in steps]})
        return
    for step in steps:
        click.secho(step.title, bold=True)
        for value in step.values:
            click.echo(f"  {value.key} = {value.shown}  ", nl=False)
            click.secho(value.source, dim=True)
