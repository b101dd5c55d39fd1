import base64

import pytest

from codapi_flask.verify.linking import link, tail
from codapi_flask.verify.pages.read import read
from codapi_flask.verify.snippet import PageError


@pytest.fixture
def linked(tmp_path):
    """Return a function that links the last snippet of a page, with files beside it."""

    def make(text, name="page.md", **files):
        for path, content in {name: text, **files}.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        page = read(tmp_path / name)
        return link(page.snippets[-1], page, tmp_path)

    return make


def lines(code):
    """Return code as texts with file names and line numbers."""
    return [
        (line.text, line.place and f"{line.place.path.name}:{line.place.line}") for line in code
    ]


def test_request_has_sandbox_version_command_and_code(linked):
    found = linked("```python codapi version=3 command=test\n\nx = 1\n```\n")
    assert found.request == {
        "sandbox": "python",
        "version": "3",
        "command": "test",
        "files": {"": "x = 1"},
    }


def block(id, code, *needs):
    depends = f" depends-on={','.join(needs)}" if needs else ""
    return f"```python codapi id={id}{depends}\n{code}\n```\n"


ORDERS = {
    "chain": ([("a", []), ("b", ["a"]), ("c", ["b"])], "abc"),
    "both": ([("a", []), ("b", []), ("c", ["b", "a"])], "bac"),
    "diamond": ([("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"])], "abcd"),
    "circle": ([("a", ["b"]), ("b", ["a"])], "ab"),
    "later one": ([("b", []), ("a", ["b"])], "ba"),
}


@pytest.mark.parametrize(("blocks", "order"), ORDERS.values(), ids=ORDERS)
def test_code_stands_behind_what_it_depends_on(linked, blocks, order):
    found = linked("".join(block(id, f"{id} = 1", *needs) for id, needs in blocks))
    assert found.request["files"][""] == "\n".join(f"{id} = 1" for id in order)


def test_lines_of_joined_snippets_keep_their_places(linked):
    found = linked(block("a", "a") + block("b", "b1\nb2", "a"))
    assert lines(found.lines[""]) == [
        ("a", "page.md:2"),
        ("b1", "page.md:5"),
        ("b2", "page.md:6"),
    ]


def test_tail_separates_joined_snippets(linked):
    found = linked(block("a", "a") + "```python codapi depends-on=a output-tail\nb\n```\n")
    assert lines(found.lines[""]) == [
        ("a", "page.md:2"),
        ('print("---")', None),
        ("b", "page.md:5"),
    ]


def test_template_holds_the_code_in_its_place(linked):
    found = linked(
        "```go codapi template=t/main.go\na\nb\n```\n",
        **{"t/main.go": "top\n\t##CODE##;\nend ##CODE##\n"},
    )
    assert lines(found.lines[""]) == [
        ("top", "main.go:1"),
        ("\ta", "page.md:2"),
        ("b;", "page.md:3"),
        ("end ##CODE##", "main.go:3"),
        ("", "main.go:4"),
    ]
    assert {path.name for path in found.paths} == {"main.go"}


def test_template_is_an_element_of_the_page(linked):
    found = linked(
        '<script id="t.py" type="text/plain">\ndef f():\n    ##CODE##\n</script>\n'
        '<pre>pass</pre><codapi-snippet sandbox="python" template="#t.py"></codapi-snippet>',
        "page.html",
    )
    assert lines(found.lines[""]) == [("def f():", "page.html:2"), ("    pass", "page.html:5")]


def test_files_are_those_beside_the_page_and_of_it(linked):
    found = linked(
        block("b.py", "b = 1") + '```python codapi files="a.py c/a.py:d.py #b.py"\nx\n```\n',
        "docs/page.md",
        **{"docs/a.py": "one\n", "docs/c/a.py": "two"},
    )
    assert found.request["files"] == {"": "x", "a.py": "one\n", "d.py": "two", "b.py": "b = 1"}
    assert lines(found.lines["a.py"])[0] == ("one", "a.py:1")


def test_file_of_bytes_is_a_data_url(linked):
    found = linked("```sh codapi files=a.bin\nx\n```\n", **{"a.bin": b"\xff\0"})
    encoded = base64.b64encode(b"\xff\0").decode()
    assert found.request["files"]["a.bin"] == f"data:application/octet-stream;base64,{encoded}"


@pytest.mark.parametrize("place", ["code", "static/code", "docs/public/code"])
def test_path_from_the_sites_root_is_found_above_the_page(linked, place):
    found = linked(
        "```sh codapi files=/code/a.txt\nx\n```\n", "docs/a/page.md", **{f"{place}/a.txt": "1"}
    )
    assert found.request["files"]["a.txt"] == "1"


PROBLEMS = {
    "```sh codapi depends-on=a\nx\n```": "it depends on a, and no snippet has that id",
    "```sh codapi id=a foo\n```\n```sh codapi depends-on=a\nx\n```": "it depends on a, and no",
    "```sh codapi\n\n```": "the snippet has no code",
    "```sh codapi template=a\nx\n```": "file a not found",
    "```sh codapi template=page.md\nx\n```": "template page.md has no ##CODE##",
    "```sh codapi files=#a\nx\n```": "element #a not found",
    "```sh codapi files=../a\nx\n```": "file ../a not found",
    "```sh codapi files=https://a/b\nx\n```": "file https://a/b: files of other servers are not",
}


@pytest.mark.parametrize("text", PROBLEMS)
def test_what_is_missing_is_named(linked, text):
    with pytest.raises(PageError) as caught:
        linked(text)
    assert str(caught.value).startswith(PROBLEMS[text])


@pytest.mark.parametrize("name", ["../outside", "link"])
def test_file_outside_of_the_root_is_refused(tmp_path, linked, name):
    outside = tmp_path.parent / "outside"
    outside.write_text("secret")
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(PageError, match="is outside of"):
        linked(f"```sh codapi files={name}\nx\n```")


TAILS = {
    "a\n---\nb\n": "b\n",
    "a\n---\nb\n---\nc": "c",
    "a\n---\n": "",
    "a\n---": "",
    "---\nb": "b",
    "a\nb": "a\nb",
    "": "",
}


@pytest.mark.parametrize("output", TAILS)
def test_tail_is_the_output_after_the_last_separator(output):
    assert tail(output) == TAILS[output]
