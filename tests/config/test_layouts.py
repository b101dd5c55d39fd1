import json

import pytest

from codapi_flask.config.layouts import Unreadable, read


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.json"


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": 1}', {"a": 1}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ("\ufeff{a: 1}", {"a": 1}),
        ('{"a": {"b": 1}, "b": {"b": 2}}', {"a": {"b": 1}, "b": {"b": 2}}),
        (r'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        (r'{a: "\ud83d\ude00"}', {"a": "😀"}),
        ('{"a": 1e400}', {"a": float("inf")}),
        ("{a: -Infinity}", {"a": -float("inf")}),
    ],
)
def test_read_json_and_json5_give_the_same_document(file, text, document):
    file.write_text(text, encoding="utf-8")
    assert read(file) == document


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"a": 1, "\\u0061": 1}', "a"),
        ('{"x": [{"a": null, "b": 1, "a": null}]}', "a"),
        ("{a: 1, 'a': 1}", "a"),
        ('{a: 1, "\\u0061": 1}', "a"),
        ('{"a\\nb": 1, "a\\nb": 1}', "a\nb"),
        ('{"\\ud83d\\ude00": 1, "😀": 1}', "😀"),
        ("{'\\ud83d\\ude00': 1, '😀': 1}", "😀"),
    ],
)
def test_read_duplicate_key_is_refused(file, text, key):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Unreadable) as caught:
        read(file)
    assert str(caught.value) in {
        f"Duplicate key {shown} found in object" for shown in (json.dumps(key), f'"{key}"')
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r'{"a": "\ud83d"}', r"holds '\ud83d', half of a surrogate pair"),
        (r'{a: "\ude00\ud83d"}', r"holds '\ude00', half of a surrogate pair"),
        (r'{"\ud83d": 1}', r"holds '\ud83d', half of a surrogate pair"),
        ('{"a": ' + "9" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ("{a: 0x" + "f" * 5000 + "}", "Exceeds the limit (4300 digits)"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
        ("{a: " + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
        ('{"a": ' + '{"a":' * 100_000, "is nested too deeply"),
    ],
    ids=lambda value: value[:20],
)
def test_read_surrogates_huge_numbers_and_nesting_are_refused(file, text, why):
    file.write_text(text)
    with pytest.raises(Unreadable) as caught:
        read(file)
    assert str(caught.value).startswith(why)
