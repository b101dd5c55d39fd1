"""`codapi sandbox`: build, test, add and remove sandboxes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from codapi_flask.cli.output import FAILED, Failure, choose_target, print_json, root_option


@click.group()
def sandbox() -> None:
    r"""Build, test, add or remove sandboxes.

    \b
    codapi sandbox build go rust
    codapi sandbox test go
    codapi sandbox add https://github.com/nalgeon/sandboxes lua
    codapi sandbox rm lua
    """


@sandbox.command()
@click.argument("names", nargs=-1, required=True)
@root_option
def build(names: tuple[str, ...], root: Path) -> None:
    """Build the images of sandboxes: of images/NAME or sandboxes/NAME."""
    from codapi_flask.recipes import install

    with _failures():
        for name in names:
            for command in install.builds(root.resolve(), name):
                for line in install.build(command):
                    click.echo(line)
            click.secho(f"{name}: built", fg="green")


@sandbox.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@root_option
def test(names: tuple[str, ...], as_json: bool, root: Path) -> None:
    """Execute the examples of sandboxes, and compare their answers.

    The examples are examples/*.txt beside the recipe. The status is 1 if one of them fails.
    """
    from codapi_flask.client import examples

    root = root.resolve()
    try:
        found = [each for name in names for each in examples.of_sandbox(root, name)]
    except ValueError as error:
        raise Failure(str(error), FAILED) from error
    if missing := [name for name in names if name not in {each.sandbox for each in found}]:
        raise Failure(f"no examples of {', '.join(missing)} in {root}", FAILED)
    target = choose_target("", "", True, root, os.cpu_count() or 1)
    results, failed = [], 0
    try:
        for example, problems in examples.try_all(target, found):
            results.append(
                {"sandbox": example.sandbox, "example": example.name, "problems": problems}
            )
            failed += bool(problems)
            if not as_json:
                _show(f"{example.sandbox} {example.name}", problems)
    finally:
        target.close()
    if as_json:
        print_json({"examples": results})
    else:
        click.echo(f"{len(found) - failed} of {len(found)} examples passed")
    raise SystemExit(FAILED if failed else 0)


@sandbox.command()
@click.argument("source")
@click.argument("names", nargs=-1)
@click.option("--name", "new_name", help="name of the sandbox, if it is one")
@click.option("--run-scripts", is_flag=True, help="run the recipe's build.sh and setup.sh")
@root_option
def add(
    source: str, names: tuple[str, ...], new_name: str | None, run_scripts: bool, root: Path
) -> None:
    r"""Add sandboxes from a folder, a .tar.gz or a git URL, in the form of Codapi's registry.

    SOURCE holds one recipe, or several, of which NAMES are added.

    \b
    codapi sandbox add ./lua
    codapi sandbox add lua.tar.gz --name lua54
    codapi sandbox add https://github.com/nalgeon/sandboxes lua go
    """
    from codapi_flask.recipes import install
    from codapi_flask.recipes.source import opened

    root = root.resolve()
    with _failures(), opened(source) as recipes:
        chosen = names or tuple(recipes) if len(recipes) == 1 else names
        unknown = [name for name in chosen if name not in recipes]
        if unknown or not chosen:
            which = f"no {', '.join(unknown)} in {source}" if unknown else "which of them?"
            raise Failure(f"{which} There are: {', '.join(sorted(recipes))}", FAILED)
        if new_name and len(chosen) > 1:
            raise click.UsageError("--name is for a single sandbox")
        for each in chosen:
            name = new_name or each
            folder = install.add(root, name, recipes[each])
            click.secho(f"{name}: added to {folder}", fg="green")
            _scripts(folder, run_scripts)


@sandbox.command()
@click.argument("names", nargs=-1, required=True)
@root_option
def rm(names: tuple[str, ...], root: Path) -> None:
    """Remove sandboxes, with their configs and the images that no other sandbox uses."""
    from codapi_flask.recipes import install

    with _failures():
        for name in names:
            files, images = install.remove(root.resolve(), name)
            for path in files:
                click.echo(f"removed {path}")
            for image in images:
                command = ["docker", "image", "rm", image]
                done = subprocess.run(command, capture_output=True, check=False).returncode == 0
                click.echo(f"{'removed' if done else 'did not find'} the image {image}")


def _scripts(folder: Path, runs: bool) -> None:
    """Run a recipe's scripts, or show them."""
    from codapi_flask.recipes import install

    for script in install.scripts(folder):
        if runs:
            click.echo(f"running {script}")
            install.run_script(script)
            continue
        click.secho(f"{script} was not run (--run-scripts):", fg="yellow")
        click.echo(script.read_text(errors="replace").rstrip())
    if not runs:
        click.echo(f"next: codapi sandbox build {folder.name}, and restart the server")


def _show(title: str, problems: list[str]) -> None:
    click.secho(f"{'failed' if problems else 'passed'}  {title}", fg="red" if problems else "green")
    for problem in problems:
        click.echo(f"        {problem}")


@contextmanager
def _failures() -> Iterator[None]:
    from codapi_flask.errors import RecipeError

    try:
        yield
    except RecipeError as error:
        raise Failure(str(error), FAILED) from error
