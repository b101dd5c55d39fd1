"""`codapi verify`: prove the snippets of a documentation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codapi_flask.cli.output import (
    FAILED,
    UNUSABLE,
    Failure,
    choose_target,
    print_json,
    target_options,
)

if TYPE_CHECKING:
    from codapi_flask.verify.run import Result, Runner

INTERVAL = 0.3
"""Seconds between two looks at the pages that are watched."""


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@click.option("--update", is_flag=True, help="write the outputs into the pages")
@click.option("--watch", is_flag=True, help="verify pages again when they are saved, until Ctrl-C")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="write JUnit's XML")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.option("--allow-none", is_flag=True, help="succeed without any snippets")
@click.option("-q", "--quiet", is_flag=True, help="show only what did not pass")
@click.option(
    "-j", "--jobs", default=4, type=click.IntRange(1), help="snippets at once, without --server"
)
@target_options
def verify(
    paths: tuple[Path, ...],
    update: bool,
    watch: bool,
    junit: Path | None,
    as_json: bool,
    allow_none: bool,
    quiet: bool,
    jobs: int,
    **where: Any,
) -> None:
    r"""Run the snippets of pages, and compare what they print with what the pages show.

    Pages are Markdown, HTML, reStructuredText and notebooks; of a directory, all below it. How a
    page marks its snippets: docs/verify.md.

    \b
    codapi verify README.md docs/
    codapi verify docs/ --update
    codapi verify docs/ --watch
    codapi verify docs/ --junit report.xml

    The status is 0 if all snippets passed, 1 if some did not, 125 if none was executed.
    """
    from codapi_flask.verify.pages.read import find
    from codapi_flask.verify.snippet import PageError

    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other")
    try:
        pages = find(paths)
    except PageError as error:
        raise Failure(str(error), 2) from error
    with _runner(jobs, where) as runner:
        begin = time.monotonic()
        results = _verify(runner, pages, update)
        _report(results, time.monotonic() - begin, junit, as_json, quiet)
        if watch:
            _watch(paths, results, lambda pages: _verify(runner, pages, update), quiet)
    raise SystemExit(0 if allow_none and not results else _status(results))


@contextmanager
def _runner(jobs: int, where: dict[str, Any]) -> Iterator[Runner]:
    from codapi_flask.verify.run import Runner

    target = choose_target(**where, size=jobs)
    try:
        yield Runner(target, Path.cwd())
    finally:
        target.close()


def _verify(runner: Runner, paths: list[Path], updates: bool) -> list[Result]:
    """Run the snippets of pages, with a progress bar on a terminal."""
    from codapi_flask.verify.pages.read import read
    from codapi_flask.verify.run import runnable
    from codapi_flask.verify.update import update

    pages = [read(path) for path in paths]
    found = runner.run(pages)
    if sys.stderr.isatty():
        total = sum(len(runnable(page)) for page in pages)
        with click.progressbar(found, length=total, label="verify", file=sys.stderr) as bar:
            results = list(bar)
    else:
        results = list(found)
    if not updates:
        return results
    updated: list[Result] = []
    for page in pages:
        own = [result for result in results if result.snippet.path == page.path]
        text, changed = update(page, own)
        if text == page.text:
            updated += changed
        elif page.path.read_bytes() == page.text.encode():
            # the line ends of the file are in the text
            page.path.write_bytes(text.encode())
            updated += changed
        else:
            # it was saved meanwhile: the output may not belong there any more
            updated += own
    return updated


def _report(
    results: list[Result], seconds: float, junit: Path | None, as_json: bool, quiet: bool
) -> None:
    from codapi_flask.verify.reports import json, text
    from codapi_flask.verify.reports.junit import document

    if junit:
        junit.write_text(document(results), encoding="utf-8")
    if as_json:
        print_json(json.document(results))
        return
    for result in results:
        if not quiet or result.verdict in ("failed", "error"):
            for line in text.result_lines(result):
                _show(line)
    _show(text.summary(results, seconds))


def _show(line: Any) -> None:
    coloured, rest = line.text[: line.width], line.text[line.width :]
    click.echo((click.style(coloured, fg=line.colour) if line.colour else coloured) + rest)


def _watch(
    paths: tuple[Path, ...],
    results: list[Result],
    verify_again: Callable[[list[Path]], list[Result]],
    quiet: bool,
) -> None:
    """Verify what is saved, until Ctrl-C; `results` are those before."""
    from codapi_flask.verify.watch import Watcher

    watcher = Watcher(paths)
    watcher.learn(results)
    click.secho("codapi: waiting for pages to be saved, Ctrl-C ends", err=True, dim=True)
    try:
        while True:
            time.sleep(INTERVAL)
            if saved := watcher.saved():
                begin = time.monotonic()
                new = verify_again(saved)
                _report(new, time.monotonic() - begin, None, False, quiet)
                watcher.learn(new)
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _status(results: list[Result]) -> int:
    verdicts = {result.verdict for result in results}
    if not verdicts:
        raise Failure("no snippets found; how pages mark them: docs/verify.md")
    if verdicts <= {"error", "skipped"} and "error" in verdicts:
        return UNUSABLE
    return FAILED if verdicts & {"failed", "error"} else 0
