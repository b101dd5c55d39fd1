"""A plugin of pytest: with `--codapi`, each snippet of a page is a test.

It imports nothing of this package until the option is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from codapi_flask.client.target import Target
    from codapi_flask.verify.run import Result, Runner
    from codapi_flask.verify.snippet import Page, Snippet


class _Open:
    """The target of a session, which is there once a test needs it."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self.runner: Runner | None = None


KEY = pytest.StashKey[_Open]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("codapi", "snippets of a documentation")
    group.addoption("--codapi", action="store_true", help="test the snippets of pages")
    group.addoption("--codapi-server", default="", metavar="URL", help="server that runs them")
    group.addoption("--codapi-token", default="", metavar="TOKEN", help="token of the server")
    group.addoption("--codapi-local", action="store_true", help="run them without a server")
    group.addoption("--codapi-root", default=".", metavar="DIR", help="directory with the configs")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare for a target."""
    if config.getoption("codapi"):
        config.stash[KEY] = _Open()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the target."""
    opened = config.stash.get(KEY, None)
    if opened and opened.target:
        opened.target.close()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> _File | None:
    """Collect a page."""
    if not parent.config.getoption("codapi"):
        return None
    from codapi_flask.verify.pages.read import is_page

    if not is_page(file_path):
        return None
    found: _File = _File.from_parent(parent, path=file_path)
    return found


class Failed(Exception):
    """A snippet did not pass."""

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(result.reason)


class _File(pytest.File):
    """A page, whose snippets are tests."""

    def collect(self) -> Iterator[_Item]:
        from codapi_flask.verify.pages.read import read
        from codapi_flask.verify.run import runnable

        page = read(Path(os.path.relpath(self.path)))
        for snippet in runnable(page):
            name = f"{snippet.line}-{snippet.title.replace(' ', '-')}"
            yield _Item.from_parent(self, name=name, snippet=snippet, page=page)


class _Item(pytest.Item):
    """A snippet."""

    def __init__(self, *, snippet: Snippet, page: Page, **more: Any) -> None:
        super().__init__(**more)
        self._snippet, self._page = snippet, page

    def runtest(self) -> None:
        result = _runner(self.config).verify(self._snippet, self._page)
        if result.verdict == "skipped":
            pytest.skip(result.text)
        if result.verdict != "passed":
            raise Failed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Failed):
            result = excinfo.value.result
            return f"{result.place}: {result.text}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._snippet.line - 1, self.name


def _runner(config: pytest.Config) -> Runner:
    """Return the session's runner.

    Raises:
        UsageError: nothing can execute snippets.
    """
    from codapi_flask.client.choice import choose
    from codapi_flask.client.target import TargetError
    from codapi_flask.verify.run import Runner

    opened = config.stash[KEY]
    if not opened.runner:
        server, token = config.getoption("codapi_server"), config.getoption("codapi_token")
        root = config.rootpath / config.getoption("codapi_root")
        try:
            target = choose(server, token, config.getoption("codapi_local"), root)
        except TargetError as error:
            raise pytest.UsageError(str(error)) from error
        opened.target, opened.runner = target, Runner(target, config.rootpath)
    return opened.runner
