"""A host to examine: this one, or one whose daemon ignores what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from codapi_flask.doctor.subject import Subject
from tests.support.daemon import Daemon


@pytest.fixture
def subject(
    root: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Subject]]:
    """Return a factory of subjects: `subject(here, renamed)`.

    `here` is a root with configs, by default one with `sh` and `python`. With `renamed` words the
    daemon reads and writes other ones.
    """
    with ExitStack() as stack:

        def make(here: Path | None = None, renamed: Mapping[bytes, bytes] | None = None) -> Subject:
            monkeypatch.setenv("CODAPI_WORK_DIR", str(tmp_path / "work-dir"))
            if renamed:
                daemon = Daemon(tmp_path / "docker.sock", renamed)
                stack.callback(daemon.close)
                monkeypatch.setenv("DOCKER_HOST", daemon.address)
            return stack.enter_context(closing(Subject(here or root())))

        yield make
