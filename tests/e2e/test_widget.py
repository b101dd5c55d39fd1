"""Codapi's own widget, in a browser, on a page of another origin."""

from __future__ import annotations

import functools
import html
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codapi_flask.verify.linking import link
from codapi_flask.verify.pages.read import read
from tests.support.browser import Browser
from tests.support.configs import BOXES, COMMANDS
from tests.support.programs import Sleep
from tests.support.server import Server, wait_for, write_root

pytestmark = [pytest.mark.docker, pytest.mark.chromium, pytest.mark.npm]

WIDGET = "@antonz/codapi@0.19.10"
PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="stylesheet" href="/package/dist/snippet.css">
<pre><code>{code}</code></pre>
<codapi-snippet sandbox="{sandbox}" {attributes}></codapi-snippet>
<codapi-settings url="{url}/v1"></codapi-settings>
<script src="/package/dist/snippet.js"></script>
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with the widget, as npm has it."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(["npm", "pack", "--silent", WIDGET], cwd=folder, check=True)
    (package,) = folder.glob("*.tgz")
    subprocess.run(["tar", "--extract", "--file", package], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def site(folder) -> Iterator[str]:
    """Serve the folder and return its address, which is not the server's."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever).start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """Return a server with one worker and a step timeout of three seconds."""
    top = {"pool_size": 1, "step": {"timeout": 3}}
    with Server(write_root(tmp_path_factory.mktemp("root"), BOXES, COMMANDS, top)) as server:
        yield server


@pytest.fixture
def run(browser, folder, site, server) -> Callable[..., tuple[str, str]]:
    """Return a function that clicks Run below a code, and returns the status and output."""

    def run(
        sandbox: str, code: str, attributes: str = "", url: str = server.url
    ) -> tuple[str, str]:
        # a name that the browser has not seen yet
        page = folder / f"{len(list(folder.iterdir()))}.html"
        code = html.escape(code)
        page.write_text(PAGE.format(code=code, sandbox=sandbox, attributes=attributes, url=url))
        browser.open(f"{site}/{page.name}")
        browser.evaluate("document.querySelector('codapi-toolbar button').click()")
        state = "document.querySelector('codapi-snippet').state"
        wait_for(lambda: browser.evaluate(state) in ("failed", "succeded"))
        status, output = (
            browser.evaluate(f"document.querySelector('codapi-{part}').innerText")
            for part in ("status", "output code")
        )
        return status, output

    return run


def test_widget_shows_the_output(run):
    shown = run("python", "print('Grüße <&>', 6 * 7)")
    assert shown == ("✓ Done by codapi", "Grüße <&> 42\n")


def test_widget_shows_all_output_of_a_failed_program(run):
    status, output = run("python", "print('before')\n1 / 0")
    assert status == "✘ Failed"
    assert output.startswith("before\nTraceback (most recent call last):\n")
    assert output.endswith("ZeroDivisionError: division by zero (exit status 1)")


def test_widget_shows_the_timeout_of_a_program(run):
    assert run("sh", "sleep 60") == ("✘ Failed", "code execution timeout")


def test_widget_sends_files_of_the_page(run, folder):
    (folder / "data.bin").write_bytes(b"\0\xff")
    shown = run("sh", "od -An -tx1 data.bin", 'files="/data.bin"')
    assert shown == ("✓ Done by codapi", " 00 ff\n")


def test_widget_shows_that_the_server_is_busy(run, server):
    with ThreadPoolExecutor() as threads:
        program = Sleep(60)
        answer = threads.submit(server.exec, "sh", "run", program.text)
        wait_for(program.runs)
        shown = run("sh", "echo hello")
        answer.result()
    text = "429 - Too many requests. Try again in a few seconds."
    assert shown == ("✘ Failed", text)


def test_page_can_read_when_to_try_again(browser, site, server):
    browser.open(f"{site}/")
    document = json.dumps({"sandbox": "sh", "command": "run", "files": {"": "echo hello"}})
    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    options = json.dumps({"method": "POST", "headers": headers, "body": document})
    with ThreadPoolExecutor() as threads:
        program = Sleep(60)
        answer = threads.submit(server.exec, "sh", "run", program.text)
        wait_for(program.runs)
        browser.evaluate(
            f"fetch('{server.url}/v1/exec', {options})"
            ".then((answer) => (window.after = answer.headers.get('retry-after') || 'unknown'))"
            " && null"
        )
        assert wait_for(lambda: browser.evaluate("window.after")) == "1"
        answer.result()


def test_widget_shows_that_the_server_is_down(run):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:{1}".format(*silent.getsockname())
        assert run("sh", "echo hello", url=url) == ("✘ Failed", "request failed")


SNIPPETS = """<!doctype html>
<meta charset="utf-8">
<script id="t.py" type="text/plain">
def f():
    ##CODE##
</script>
<pre id="npc.py">x = 1</pre>
<pre><code>
print("a &lt; b")&nbsp;
</code></pre>
<codapi-snippet id="a" sandbox="python:3.12" command="test" output></codapi-snippet>
<pre><code> a
</code></pre>
<pre>if b:<br>  <b>c</b></pre>
<p><codapi-snippet id="b" sandbox="python" depends-on="a" output="@next i"></codapi-snippet>
<u><i>b</i></u></p>
<div><p>no</p><code class="x">pass</code></div>
<codapi-snippet sandbox="python" selector="@prev .x" template="#t.py"></codapi-snippet>
<div id="late"><s>last()</s></div>
<codapi-snippet sandbox="python" selector="#late s" depends-on="b a" output-tail
    files="#npc.py #b:b/b.py /beside.txt:c" output="#out"></codapi-snippet>
<p id="out"> d <code> e </code></p>
<script src="/package/dist/snippet.js"></script>
"""
EXECUTE = """
window.sent = [];
const answer = {ok: true, stdout: "", stderr: ""};
codapi.engines.codapi = {exec: async (data) => (sent.push(data), answer)};
(async () => {
    for (const each of document.querySelectorAll("codapi-snippet")) await each.execute();
    window.done = [...document.querySelectorAll("codapi-snippet")].map((each, i) =>
        [sent[i], each._fallback ? each._fallback.stdout : null]);
})() && null
"""


def test_verify_sends_what_the_widget_sends(browser, folder, site):
    (folder / "beside.txt").write_text("text\n")
    page = folder / "snippets.html"
    page.write_text(SNIPPETS)
    browser.open(f"{site}/{page.name}")
    browser.evaluate(EXECUTE)
    sent = wait_for(lambda: browser.evaluate("window.done"))
    found = read(page)
    assert len(sent) == 4
    assert [
        (link(each, found, folder).request, each.expected and each.expected.text.strip())
        for each in found.snippets
    ] == [(request, output) for request, output in sent]
