"""What belongs to a snippet of the widget; tests/e2e/test_widget.py runs the widget itself."""

from pathlib import Path

import pytest

from codapi_flask.verify.pages.read import read_text
from codapi_flask.verify.pages.select import select
from codapi_flask.verify.pages.tree import Tree
from codapi_flask.verify.snippet import PageError, text_of

PY = 'sandbox="python"'
WIDGET = f"<codapi-snippet {PY}></codapi-snippet>"


def snippets(html):
    return read_text(Path("page.html"), html).snippets


def only(html):
    [snippet] = snippets(html)
    return snippet


CODE = {
    "element before": f"<pre>\ncode</pre>\n{WIDGET}",
    "code in the element before": f"<pre>no <code>code</code></pre>{WIDGET}",
    "element before the parent": f"<pre>code</pre><p>{WIDGET}</p>",
    "selector": '<div id="a"><pre class="x y">code</pre></div><p>no</p>'
    f'<codapi-snippet {PY} selector="#a .x"></codapi-snippet>',
    "selector in the element before": "<div><i>no</i><b>code</b></div>"
    f'<codapi-snippet {PY} selector="@prev b"></codapi-snippet>',
    "selector of what follows": f'<codapi-snippet {PY} selector="#a"></codapi-snippet>'
    '<pre id="a">code</pre>',
    "highlighted": f"<pre><code><b>co</b><i>de</i></code></pre>{WIDGET}",
    "unclosed paragraph": f"<p>no<pre>code</pre>{WIDGET}",
}


@pytest.mark.parametrize("html", CODE.values(), ids=CODE)
def test_code_is_that_of_the_element_that_the_widget_takes(html):
    assert text_of(only(html).code) == "code"


def test_code_is_unescaped_and_has_its_lines():
    html = f"<pre>a &lt; b\n  c&nbsp;d<br>e</pre>\n{WIDGET}"
    code = only(html).code
    assert [(line.text, line.place.line) for line in code] == [
        ("a < b", 1),
        ("  c\xa0d", 2),
        ("e", 2),
    ]


OUTPUTS = {
    "next element": "<codapi-snippet {} output></codapi-snippet><pre>1</pre>",
    "next element by name": '<codapi-snippet {} output="@next"></codapi-snippet><pre>1</pre>',
    "code in it": "<codapi-snippet {} output></codapi-snippet><pre>no<code>1</code></pre>",
    "after the parent": "<p><codapi-snippet {} output></codapi-snippet></p><pre>1</pre>",
    "in the next": '<codapi-snippet {} output="@next i"></codapi-snippet><pre>no<i>1</i></pre>',
    "selector": '<codapi-snippet {} output="#o"></codapi-snippet><b>no</b><i id="o">1</i>',
}


@pytest.mark.parametrize("html", OUTPUTS.values(), ids=OUTPUTS)
def test_output_is_that_of_the_element_that_the_widget_takes(html):
    assert only("<pre>code</pre>\n" + html.format(PY)).expected.text == "1"


def test_output_is_not_the_code_of_the_next_snippet():
    first, second = snippets(
        f"<pre>a</pre><codapi-snippet {PY} output></codapi-snippet><pre>1</pre><p>{WIDGET}</p>"
    )
    assert first.expected.text == "1"
    # as the widget: the element before is the first snippet, which has no text
    assert second.code == ()


def test_output_of_another_mode_is_not_compared():
    html = f'<pre>a</pre><codapi-snippet {PY} output output-mode="svg"></codapi-snippet><p>x</p>'
    assert only(html).expected is None


PROBLEMS = {
    WIDGET: "no element with code stands before it",
    f'<codapi-snippet {PY} selector="#a"></codapi-snippet>': "element not found: #a",
    f'<p>x</p><codapi-snippet {PY} output="#a"></codapi-snippet>': "element not found: #a",
    f"<p>x</p><codapi-snippet {PY} output></codapi-snippet>": "no element with the output",
    f'<codapi-snippet {PY} selector="a:hover"></codapi-snippet>': "selector not understood:",
}


@pytest.mark.parametrize("html", PROBLEMS)
def test_missing_element_is_a_problem_of_the_snippet(html):
    assert only(html).problem.startswith(PROBLEMS[html])


def test_attributes_are_those_of_the_widget():
    snippet = only(
        '<pre>x</pre><codapi-snippet id="a" sandbox="go:dev" command="test" template="#t" '
        'files="a.go b.go:c.go" depends-on="b c" output-tail syntax="lua" '
        'version="9"></codapi-snippet>'
    )
    assert (snippet.sandbox, snippet.version, snippet.command) == ("go", "dev", "test")
    assert (snippet.template, snippet.files) == ("#t", ("a.go", "b.go:c.go"))
    assert (snippet.id, snippet.depends_on, snippet.tail) == ("a", ("b", "c"), "lua")


@pytest.mark.parametrize("engine", ["browser", "wasi", "pglite"])
def test_engine_of_the_browser_is_skipped(engine):
    html = f'<pre>x</pre><codapi-snippet engine="{engine}" sandbox="javascript"></codapi-snippet>'
    assert only(html).skip == f"engine {engine}: runs in browsers only"


def test_elements_with_ids_are_files():
    html = '<script id="t" type="text/plain">\nif a < b:\n  ##CODE##\n</script><p id="p">&amp;</p>'
    elements = read_text(Path("page.html"), html).elements
    assert {id: text_of(code) for id, code in elements.items()} == {
        "t": "if a < b:\n  ##CODE##",
        "p": "&",
    }


def test_comment_holds_no_snippet():
    assert snippets(f"<pre>x</pre><!-- {WIDGET} -->") == ()


SELECTORS = {
    "pre": "a",
    "PRE": "a",
    "*": "div",
    "#b": "b",
    ".y.x": "b",
    "div > .x": "b",
    "div > i": None,
    "div i": "i",
    "#a + .x": "b",
    "#a ~ p": "p",
    "#b + #a": None,
    "[data-x]": "p",
    "[data-x=one]": "p",
    "[data-x='two']": None,
    "[data-x^=o]": "p",
    "nothing, p": "p",
    "div pre:first-child": "a",
    "pre:last-child": None,
    r"#n\.py": "n.py",
}


@pytest.mark.parametrize("selector", SELECTORS)
def test_selector_finds_the_first_element(selector):
    tree = Tree()
    html = (
        '<div id="div"><pre id="a"></pre><pre id="b" class="x y"><i id="i"></i></pre>'
        '<p id="p" data-x="one"></p><s id="n.py"></s></div>'
    )
    tree.html(html, 1, [0])
    found = select(tree.root, selector)
    assert (found and found.attributes["id"]) == SELECTORS[selector]


@pytest.mark.parametrize("selector", ["a:hover", "a::before", "", "a,,b", "> ["])
def test_selector_of_another_kind_is_refused(selector):
    with pytest.raises(PageError, match="selector not understood"):
        select(Tree().root, selector)
