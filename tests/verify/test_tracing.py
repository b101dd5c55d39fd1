from pathlib import Path

import pytest

from codapi_flask.verify.snippet import Line, Place, code_of
from codapi_flask.verify.tracing import annotated, places

PAGE = Path("a.md")
LINES = {
    "": (*code_of("a\nb", PAGE, 10), Line("sep", None), *code_of("c", PAGE, 20)),
    "lib/npc.py": code_of("x\ny", Path("npc.py"), 1),
}
TEXTS = {
    '  File "/sandbox/main.py", line 2, in <module>': ["a.md:11"],
    '  File "/sandbox/lib/npc.py", line 1, in f': ["npc.py:1"],
    "./main.go:4:2: undefined: x": ["a.md:20"],
    "main.sh: 1: foo: not found": ["a.md:10"],
    "main.sh: line 4: foo: command not found": ["a.md:20"],
    "    at Main.main(Main.java:2)": ["a.md:11"],
    "PHP Warning: x in /sandbox/main.php on line 1": ["a.md:10"],
    "main.rb:1:in `f': main.rb:2": ["a.md:10", "a.md:11"],
    " --> main.rs:2:5": ["a.md:11"],
    "main.c:99: too far": [],
    "main.c:3: the separator": [],
    '  File "/usr/lib/python3.11/unittest/main.py", line 1, in x': [],
    '  File "/sandbox/other.py", line 1': [],
    "at 12:30 version 3.2: 1": [],
}


@pytest.mark.parametrize("text", TEXTS)
def test_place_in_an_error_is_one_of_the_page(text):
    assert [str(place) for place in places(text, LINES)[0]] == TEXTS[text]


def test_entry_files_name_is_that_of_the_server():
    lines = {"": code_of("a", PAGE, 10)}
    assert places("query.sql:1", lines, "query.sql") == [[Place(PAGE, 10)]]
    assert places("main.sql:1", lines, "query.sql") == [[]]


def test_annotated_text_ends_with_the_places():
    assert annotated("one\nmain.c:1: two", LINES) == "one\nmain.c:1: two  ← a.md:10"
