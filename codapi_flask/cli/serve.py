"""`codapi serve`: start the server."""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path

import click

from codapi_flask.cli.output import root_option


@click.command()
@click.option("--host", default="127.0.0.1", envvar="CODAPI_HOST", help="address to listen on")
@click.option("--port", default=1313, envvar="PORT", type=click.IntRange(0, 65535))
@click.option("--pool-size", type=click.IntRange(1), help="executions at once (default: config)")
@root_option
def serve(host: str, port: int, pool_size: int | None, root: Path) -> None:
    r"""Start the server with the configs of a directory, until Ctrl-C.

    \b
    codapi serve
    codapi serve --port 8000 --root /opt/codapi
    """
    os.environ |= {"CODAPI_HOST": host, "PORT": str(port), "CODAPI_ROOT": str(root.resolve())}
    if pool_size:
        os.environ["CODAPI_POOL_SIZE"] = str(pool_size)
    settings = files("codapi_flask.server") / "conf.py"
    # gunicorn starts itself again on SIGUSR2, by its argv
    gunicorn = Path(sys.executable).with_name("gunicorn")
    os.execv(gunicorn, [str(gunicorn), "--config", str(settings)])  # noqa: S606
