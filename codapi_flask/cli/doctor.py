"""`codapi doctor`: try whether this host can run sandboxes well."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from codapi_flask.cli.output import FAILED, UNUSABLE, print_json, root_option

if TYPE_CHECKING:
    from codapi_flask.doctor.examination import Check
    from codapi_flask.doctor.finding import Finding

COLOURS = {"fine": "green", "weak": "yellow", "broken": "red"}

WIDTH = 14
"""Columns of a check's name."""

ERASE = "\r\x1b[K"
"""Erases the line (ECMA-48, EL)."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@root_option
def doctor(as_json: bool, root: Path) -> None:
    r"""Try whether this host can run sandboxes well.

    \b
    codapi doctor
    codapi doctor --root /opt/codapi --json

    It executes hostile programs in boxes, and looks at the daemon, disks and configs. Run it as the
    server's user. Each finding is fine, weak or broken. The status is 1 if something is broken, 125
    if there is no Docker daemon.
    """
    import logging

    from codapi_flask.doctor.examination import DAEMON, examine

    # the findings tell what the log would
    logging.getLogger("codapi").addHandler(logging.NullHandler())
    is_live = sys.stdout.isatty() and not as_json

    def begin(check: Check) -> None:
        if is_live:
            click.echo(ERASE, nl=False)
            click.secho(f"{check.name:{WIDTH}} …", dim=True, nl=False)

    found, counts, status = [], Counter[str](), 0
    for check, finding in examine(root.resolve(), begin):
        found.append({"check": check.name, **asdict(finding)})
        counts[finding.verdict] += 1
        if finding.verdict == "broken":
            status = UNUSABLE if check is DAEMON else FAILED
        if not as_json:
            click.echo(ERASE if is_live else "", nl=False)
            _show(check, finding)
    if as_json:
        print_json({"findings": found})
    else:
        click.echo(", ".join(f"{counts[verdict]} {verdict}" for verdict in COLOURS))
    raise SystemExit(status)


def _show(check: Check, finding: Finding) -> None:
    click.echo(f"{check.name:{WIDTH}} ", nl=False)
    click.secho(f"{finding.verdict:6}", fg=COLOURS[finding.verdict], nl=False)
    click.echo(f"  {finding.text}")
    if finding.remedy:
        click.echo(f"{'':{WIDTH + 9}}", nl=False)
        click.secho(f"to mend it: {finding.remedy}", bold=True)
