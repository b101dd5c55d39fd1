"""`codapi verify` on the real engine, as a shell, CI and a terminal start it."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from xml.etree import ElementTree

import pytest

from tests.support.documents import DOCS, README
from tests.support.server import PATIENCE, REPOSITORY, wait_for

pytestmark = pytest.mark.docker

START = "from codapi_flask.cli.main import main; main(prog_name='codapi')"
NOBODY = "http://127.0.0.1:9"
"""A port where no server listens."""

GOOD = "```sh codapi\necho 1\n# 1\n```\n"
BAD = "```sh codapi\necho 1\n# 2\n```\n"

FORMATS = {
    "a.md": "```python codapi id=a\nx = 1\n```\n\n```python codapi depends-on=a\nprint(x)\n```\n"
    "\n```output\n1\n```\n",
    "a.html": '<!doctype html><pre id="n.py">x = 1</pre><pre>from n import x\nprint(x)</pre>'
    '<codapi-snippet sandbox="python" files="#n.py" output></codapi-snippet><pre>1</pre>',
    "a.rst": "Title\n=====\n\n.. codapi:\n\n.. code-block:: python\n\n   print(1)\n\n"
    ".. code-block:: output\n\n   1\n",
    "a.ipynb": json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": count,
                    "metadata": {},
                    "outputs": outputs,
                    "source": source,
                }
                for count, source, outputs in (
                    (
                        1,
                        "x = 1\nprint('first')",
                        [{"output_type": "stream", "name": "stdout", "text": "first\n"}],
                    ),
                    (2, "x", [{"output_type": "execute_result", "data": {"text/plain": "1"}}]),
                )
            ],
            "metadata": {},
        }
    ),
}
"""A page of each format, whose snippets pass."""


def words(*arguments):
    return [sys.executable, "-c", START, "verify", "--root", str(REPOSITORY), *map(str, arguments)]


def environment(**more):
    own = {name: value for name, value in os.environ.items() if not name.startswith("CODAPI_")}
    return {**own, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", **more}


def verify(directory, *arguments):
    """Run the command with pipes."""
    return subprocess.run(
        words(*arguments), cwd=directory, env=environment(), capture_output=True, text=True
    )


@contextmanager
def terminal(directory, *arguments):
    """Start the command on a terminal; yield the process, and a function that reads its text."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        words(*arguments),
        cwd=directory,
        env=environment(),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    text = ""

    def read():
        nonlocal text
        while select.select([master], [], [], 0)[0]:
            try:
                text += os.read(master, 4096).decode()
            except OSError:
                # Linux's end of file
                break
        return text

    try:
        yield process, read
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


@pytest.fixture
def pages(tmp_path):
    """Return a function that writes pages."""

    def write(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.md").write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_page_of_each_format_passes(tmp_path, name):
    (tmp_path / name).write_text(FORMATS[name])
    found = verify(tmp_path, "--local", name)
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"^[12] passed in ", found.stdout, re.MULTILINE)


def test_readme_and_docs_pass():
    found = verify(REPOSITORY, "--local", README.name, DOCS.name)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "docs/verify.md:" in found.stdout


def test_pipe_gets_a_line_for_each_snippet_without_colours_or_progress(pages):
    found = verify(pages(a=GOOD + BAD), "--local", "a.md")
    assert found.returncode == 1
    assert found.stderr == ""
    *lines, summary = found.stdout.splitlines()
    assert lines == [
        "passed  a.md:2  sh run",
        "failed  a.md:6  sh run",
        "        a.md:7: the output differs from the page's",
        "        -2",
        "        +1",
    ]
    assert summary.startswith("1 passed, 1 failed in ")


def test_terminal_gets_colours_and_progress(pages):
    with terminal(pages(a=GOOD + BAD), "--local", "a.md") as (process, read):
        wait_for(lambda: "1 failed" in read(), 30)
        assert process.wait(10 * PATIENCE) == 1
        assert "verify  [####" in read()
        assert "\x1b[32mpassed\x1b[0m  a.md:2" in read()
        assert "\x1b[31m        -2\x1b[0m" in read()


def test_error_names_the_line_of_the_page(pages):
    page = (
        "```python codapi id=a\ndef f():\n    1 / 0\n```\n"
        "```python codapi depends-on=a template=t.py\nf()\n```\n"
    )
    directory = pages(a=page)
    (directory / "t.py").write_text("import sys\n\n##CODE##\n")
    found = verify(directory, "--local", "-q", "a.md")
    assert found.returncode == 1
    assert 'File "/sandbox/main.py", line 5, in <module>  ← a.md:6' in found.stdout
    assert 'File "/sandbox/main.py", line 4, in f  ← a.md:3' in found.stdout
    assert found.stdout.startswith("failed  a.md:6  python run\n        a.md:3: it failed\n")


def test_update_writes_the_output_into_the_page(pages):
    directory = pages(a=GOOD + BAD)
    assert verify(directory, "--local", "--update", "a.md").returncode == 0
    assert (directory / "a.md").read_text() == GOOD + GOOD


def test_reports_for_programs_have_each_snippet(pages):
    found = verify(pages(a=GOOD + BAD), "--local", "--json", "--junit", "report.xml", ".")
    assert found.returncode == 1
    document = json.loads(found.stdout)
    assert [each["verdict"] for each in document["snippets"]] == ["passed", "failed"]
    [suite] = ElementTree.parse(pages() / "report.xml").getroot()
    assert (suite.get("name"), suite.get("failures")) == ("a.md", "1")


def test_watch_verifies_what_is_saved(pages):
    directory = pages(a=BAD, b=GOOD)
    with terminal(directory, "--local", "--watch", "-q", ".") as (process, read):
        wait_for(lambda: "waiting for pages" in read(), 30)
        assert "1 passed, 1 failed" in read()
        before = len(read())
        pages(a=GOOD)
        wait_for(lambda: "1 passed in" in read()[before:], 30)
        assert "failed" not in read()[before:]
        process.send_signal(signal.SIGINT)
        assert process.wait(30 * PATIENCE) == 0


UNUSABLE = {
    "unknown sandbox": ("```nothing codapi\nx\n```\n", ["--local"], "unknown sandbox"),
    "no server": (GOOD, ["--server", NOBODY], "does not answer"),
    "no config": (GOOD, ["--local", "--root", "."], "the config cannot be used"),
    "no snippets": ("text\n", ["--local"], "no snippets found"),
}


@pytest.mark.parametrize(("page", "arguments", "text"), UNUSABLE.values(), ids=UNUSABLE)
def test_nothing_executed_is_125(pages, page, arguments, text):
    found = verify(pages(a=page), *arguments, "a.md")
    assert found.returncode == 125, found.stdout
    assert text in found.stdout + found.stderr


def test_no_snippets_may_be_allowed(pages):
    found = verify(pages(a="text\n"), "--local", "--allow-none", "a.md")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("path", ["missing.md", "a.txt"])
def test_path_that_is_no_page_is_a_usage_error(tmp_path, path):
    (tmp_path / "a.txt").touch()
    found = verify(tmp_path, "--local", path)
    assert found.returncode == 2
    assert found.stderr.startswith(f"codapi: {path}: ")


def test_missing_package_is_named_with_the_command(pages, tmp_path):
    (tmp_path / "markdown_it.py").write_text("raise ImportError")
    start = words("--local", "a.md")
    env = environment(PYTHONPATH=f"{tmp_path}:{REPOSITORY}")
    found = subprocess.run(start, cwd=pages(a=GOOD), env=env, capture_output=True, text=True)
    assert found.returncode == 125
    assert 'pip install "codapi_flask[verify]"' in found.stdout + found.stderr


def test_server_runs_the_snippets(pages, server):
    found = verify(pages(a=GOOD + BAD), "--server", server.url, "a.md")
    assert found.returncode == 1
    assert "1 passed, 1 failed" in found.stdout
