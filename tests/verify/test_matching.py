import pytest

from codapi_flask.verify.matching import difference, matches, merged

EQUAL = [
    ("a\nb", "a\nb\n"),
    ("\n\na  \n\n", "a\t\n"),
    ("a\r\nb\r\n", "a\nb"),
    ("", "\n"),
    ("a\n\nb", "a\n\nb"),
    ("time: … ms", "time: 12 ms"),
    ("…", "anything"),
    ("a…b…c", "a--b--c"),
    ("a…", "a"),
    ("a……c", "abc"),
    ("<ignore>", ""),
    ("<ignore>", "a\nb"),
    ("a\n<ignore>\nd", "a\nb\nc\nd"),
    ("a\n<ignore>\nd", "a\nd"),
    ("a\n  <ignore>", "a\nb\nc"),
    ("<ignore>\nd", "d\nd\nd"),
    ("<ignore>\nb\n<ignore>\nd…", "a\nb\nc\nb\nd1"),
]
DIFFERENT = [
    ("a", "b"),
    ("a", ""),
    ("", "a"),
    (" a", "a"),
    ("a\nb", "a\n\nb"),
    ("a…b", "ab1"),
    ("aa…aa", "aaa"),
    ("a…b…c", "acb"),
    ("…", "a\nb"),
    ("…", ""),
    ("a\n<ignore>\nd", "a\nb"),
    ("<ignore>\nb", "b\na"),
    ("<ignore>x", "anything"),
]


@pytest.mark.parametrize(("expected", "output"), EQUAL)
def test_output_matches(expected, output):
    assert matches(expected, output)


@pytest.mark.parametrize(("expected", "output"), DIFFERENT)
def test_output_does_not_match(expected, output):
    assert not matches(expected, output)


def test_many_wildcards_take_no_time():
    assert not matches("a…" * 200 + "b", "a" * 5000)
    assert not matches("<ignore>\na\n" * 200 + "b", "a\n" * 2000)


DIFFERENCES = {
    "changed": ("a\nb\nc", "a\nB\nc", [" a", "-b", "+B", " c"]),
    "missing": ("a\nb", "a", [" a", "-b"]),
    "too much": ("", "a", ["+a"]),
    "wildcards that are right": ("<ignore>\nb…\nc", "a\nb1\nC", [" a", " b1", "-c", "+C"]),
    "wildcard that is wrong": ("b…", "c", ["-b…", "+c"]),
    "far apart": (
        "\n".join("abcdefghij"),
        "\n".join("AbcdefghiJ"),
        ["-a", "+A", " b", " c", " d", "…", " g", " h", " i", "-j", "+J"],
    ),
    "in the middle": (
        "\n".join("abcdef"),
        "\n".join("abcdeF"),
        [" c", " d", " e", "-f", "+F"],
    ),
}


@pytest.mark.parametrize(("expected", "output", "lines"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_difference_shows_lines_that_are_missing_and_too_many(expected, output, lines):
    assert difference(expected, output) == lines


MERGED = [
    ("a", "b\n", "b"),
    ("took … s\na", "took 3 s\nb", "took … s\nb"),
    ("a\n<ignore>\nc\nd", "a\n1\n2\nc\nD", "a\n<ignore>\nc\nD"),
    ("gone …\na", "b", "b"),
    ("a\n<ignore>", "b", "b"),
]


@pytest.mark.parametrize(("expected", "output", "text"), MERGED)
def test_merged_output_keeps_the_wildcards_that_fit(expected, output, text):
    assert merged(expected, output) == text
