"""Arbitrary patterns of files match as in a shell."""

from __future__ import annotations

from collections.abc import Iterable
from glob import iglob
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given
from hypothesis import strategies as st

from codapi_flask.boxes import outputs
from codapi_flask.config.model import Step
from tests.support.fuzz import FUZZ

PARTS = st.sampled_from(["a", "b", ".a", "ab", "*", "**", "?", "a*", ".*", "[ab]", "[!a]*", "*b"])
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
NAMES = st.sampled_from(["a", "b", ".a", "ab", "[ab]", "*"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def make(tree: Path, paths: Iterable[str]) -> None:
    """Make files with a path of their own."""
    for path in sorted(paths, key=lambda path: path.count("/"), reverse=True):
        if not (tree / path).exists() and not any(
            (tree / above).is_file() for above in Path(path).parents
        ):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).touch()


@FUZZ
@given(st.lists(PATTERNS, max_size=3), st.sets(PATHS, max_size=8))
@example(["a/**"], {"a", "b"})
@example(["**/**/a"], {"a", "b/a", "b/.a/a"})
@example(["**", "a/*"], {"a/b", "a/.a"})
def test_patterns_match_as_in_a_shell(patterns, paths):
    with TemporaryDirectory() as directory:
        tree = Path(directory)
        make(tree, paths)
        step = Step(box="sh", outputs=(*patterns,), outputs_count=1000)
        files, _ = outputs.read(tree, [step], {})
        found = {
            path
            for pattern in patterns
            for path in iglob(pattern, root_dir=tree, recursive=True)
            if (tree / path).is_file() and not path.endswith("/")
        }
        assert set(files) == found
