"""The command `codapi`, whose subcommands are imported when they are used."""

from __future__ import annotations

import importlib

import click

from codapi_flask.cli.output import Failure

COMMANDS = {
    "serve": "start the server",
    "exec": "run code in a sandbox",
    "ls": "show the sandboxes",
    "sandbox": "build, test, add or remove sandboxes",
    "check": "check the config files",
    "doctor": "try whether this host can run sandboxes well",
    "verify": "prove the snippets of a documentation",
    "mcp": "serve coding assistants (Model Context Protocol)",
}
"""The subcommands, each in the module of its name, with the help's line."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Commands(click.Group):
    """A group that imports a subcommand when it is used: `codapi --help` must be quick."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a subcommand, `None` if there is none of that name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"codapi_flask.cli.{name}")
        # exec is a function of Python's
        found = getattr(module, "exec_" if name == "exec" else name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the lines of the help without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> object:
        """Run a subcommand; a failure becomes its text and status."""
        try:
            return super().invoke(context)
        except Failure as failure:
            click.secho(f"codapi: {failure}", fg="red", err=True)
            context.exit(failure.status)


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(package_name="codapi_flask", prog_name="codapi")
def main() -> None:
    """Run code in sandboxes, serve them over HTTP, and prove the snippets of a documentation.

    "codapi COMMAND --help" has examples of each command. Shell completion: docs/cli.md.
    """
