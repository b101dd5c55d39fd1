import os
import subprocess
import sys

import pytest

from tests.support.server import REPOSITORY

LOADED = """
import sys
import codapi_flask.verify.plugin
import pytest
found = sorted(m for m in sys.modules if m.startswith(("codapi_flask.", "requests", "markdown_it")))
assert found == ["codapi_flask.verify", "codapi_flask.verify.plugin"], found
"""


def run(directory, *arguments):
    """Run pytest with the plugin, as an installed package has it."""
    # the plugin may also be installed: its entry point would register it a second time
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "codapi_flask.verify.plugin",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*words, *arguments], cwd=directory, env=environment, capture_output=True, text=True
    )


def test_plugin_imports_nothing_of_the_package():
    subprocess.run([sys.executable, "-c", LOADED], cwd=REPOSITORY, check=True)


def test_pages_are_no_tests_without_the_option(tmp_path):
    (tmp_path / "a.md").write_text("```sh codapi\nx\n```\n")
    assert run(tmp_path, ".").returncode == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.docker
def test_each_snippet_is_a_test(tmp_path):
    (tmp_path / "a.md").write_text(
        "```sh codapi id=good\necho 1\n# 1\n```\n"
        "```sh codapi\necho 1\n# 2\n```\n"
        "```sh codapi skip=later\nx\n```\n"
        "```nothing codapi\nx\n```\n"
    )
    root = f"--codapi-root={REPOSITORY}"
    found = run(tmp_path, "--codapi", "--codapi-local", root, "-v", "a.md")
    assert found.returncode == pytest.ExitCode.TESTS_FAILED, found.stdout + found.stderr
    for line in (
        "a.md::2-sh-run-#good PASSED",
        "a.md::6-sh-run FAILED",
        "a.md::10-sh-run SKIPPED (later)",
        "a.md::13-nothing-run FAILED",
        "a.md:7: the output differs from the page's\n-2\n+1\n",
        "a.md:13: unknown sandbox\n",
    ):
        assert line in found.stdout
