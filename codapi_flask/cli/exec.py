"""`codapi exec`: run code in a sandbox."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codapi_flask.cli.output import UNUSABLE, Failure, choose_target, target_options

if TYPE_CHECKING:
    from codapi_flask.client.target import Answer

TIMED_OUT = 124
"""Exit status of a program that was killed at its timeout, as that of timeout(1)."""


@click.command("exec")
@click.argument("sandbox")
@click.argument("words", nargs=-1, required=True, metavar="[COMMAND] FILE...")
@click.option("--stdin", type=click.File("rb"), help="file for the program's stdin")
@click.option("--arg", "args", multiple=True, help="argument of the program; repeatable")
@click.option(
    "--outputs",
    type=click.Path(file_okay=False, path_type=Path),
    help="directory for the files that the program writes",
)
@target_options
def exec_(
    sandbox: str,
    words: tuple[str, ...],
    stdin: Any,
    args: tuple[str, ...],
    outputs: Path | None,
    **where: Any,
) -> None:
    r"""Run code in a sandbox, and print what it prints.

    The first FILE is the code ("-": stdin), the others are beside it. COMMAND is "run", unless the
    first word is no file. Without --server the request goes to a server on this host, or is
    executed here.

    \b
    codapi exec python main.py
    echo 'print(42)' | codapi exec python -
    codapi exec python test test_main.py
    codapi exec go:1.24 main.go --arg one --stdin input.txt
    codapi exec plot figure.py --outputs .

    The status is the program's own, 124 after a timeout, 125 if it could not be executed.
    """
    from codapi_flask.client.target import TargetError

    name, _, version = sandbox.partition(":")
    is_command = words[0] != "-" and not Path(words[0]).exists() and len(words) > 1
    command, paths = (words[0], words[1:]) if is_command else ("run", words)
    request: dict[str, Any] = {
        "sandbox": name,
        "version": version,
        "command": command,
        "files": _read(paths),
        "args": list(args),
        "outputs": outputs is not None,
    }
    if stdin:
        request["stdin"] = _text(stdin.read())
    printed: list[str] = []

    def hear(stream: str, text: str) -> None:
        printed.append(stream)
        click.echo(text, nl=False, err=stream == "stderr")

    target = choose_target(**where)
    try:
        answer = target.execute(request, hear)
    except TargetError as error:
        raise Failure(str(error)) from error
    finally:
        target.close()
    if not printed and answer.was_executed:
        # an answer that is remembered, or comes from another server, was not live
        click.echo(_said(answer, "stdout"), nl=False)
        click.echo(_said(answer, "stderr"), nl=False, err=True)
    if outputs:
        _save(outputs, answer.body.get("files", {}))
    raise SystemExit(_status(answer))


def _read(paths: tuple[str, ...]) -> dict[str, str]:
    files: dict[str, str] = {}
    for path in paths:
        try:
            content = sys.stdin.buffer.read() if path == "-" else _content(path)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}", 2) from error
        # those beside the code have their names; one from elsewhere its last part
        name = path if not Path(path).is_absolute() and ".." not in Path(path).parts else ""
        files["" if not files else name or Path(path).name] = _text(content)
    return files


def _content(path: str) -> bytes:
    return Path(path).read_bytes()


def _text(content: bytes) -> str:
    """Return what stands for a file's content in a request: its text, or a `data:` URL."""
    from base64 import b64encode

    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    is_text = bool(text) or not content
    return text if is_text and not text.startswith("data:") else _url(b64encode(content).decode())


def _url(encoded: str) -> str:
    return f"data:application/octet-stream;base64,{encoded}"


def _said(answer: Answer, stream: str) -> str:
    return str(answer.body.get("details", answer.body).get(stream, ""))


def _save(directory: Path, files: Mapping[str, str]) -> None:
    from codapi_flask import files as contents
    from codapi_flask.errors import FileError, ServerFault

    directory.mkdir(parents=True, exist_ok=True)
    try:
        for name, text in files.items():
            contents.check_name(name)
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(contents.to_bytes(text))
            click.secho(f"codapi: wrote {target}", err=True)
    except (FileError, ServerFault, OSError) as error:
        raise Failure(str(error)) from error


def _status(answer: Answer) -> int:
    """Return the exit status, and say on stderr why it is not the program's own success."""
    if answer.ok:
        return 0
    details = answer.body.get("details", {})
    if answer.was_executed and details.get("reason") == "exit":
        return int(details["exit_code"])
    said = str(answer.body.get("stderr", ""))
    if answer.was_executed and details.get("reason") in ("signal", "memory", "cpu"):
        first = said.partition("\n")[0] if details["reason"] != "signal" else ""
        status = int(details["exit_code"])
        text = first or f"the program was killed by signal {status - 128}"
        click.secho(f"codapi: {text}", fg="red", err=True)
        return status
    click.secho(f"codapi: {said}", fg="red", err=True)
    return TIMED_OUT if details.get("reason") == "timeout" else UNUSABLE
