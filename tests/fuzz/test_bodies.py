"""Hostile bodies: every one is answered, and never with a 500."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from codapi_flask.files import to_bytes, valid
from tests.support.fuzz import FUZZ, GOOD, check, encode
from tests.support.server import Answer

pytestmark = pytest.mark.docker

ESCAPES = "\x1b]0;evil\x07\n2026-01-01 00:00:00 INFO id=fake\r\n\0\u202e\ud800"
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(["", "sh", "run", "../x", ESCAPES])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**4000), 1e308])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
STDINS = st.sampled_from(["data:;base64,x", "data:,%00%ff", "data:", "1\n2\n"]) | TEXTS
ARGS = st.lists(TEXTS | st.sampled_from(["-c", "--", ":args", "a b", "$(id)"]), max_size=5)
INPUTS = st.fixed_dictionaries({}, optional={"stdin": STDINS | VALUES, "args": ARGS | VALUES})
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "stdin": STDINS | VALUES,
        "args": ARGS | VALUES,
        "runs": st.lists(INPUTS, max_size=4) | VALUES,
        "sandbox": st.just("sh") | VALUES,
        "command": st.sampled_from(["run", "files"]) | VALUES,
        "version": VALUES,
        "files": st.dictionaries(TEXTS, TEXTS, max_size=3) | VALUES,
        "details": st.booleans() | VALUES,
        "outputs": st.booleans() | VALUES,
        "id": VALUES,
    },
)


@pytest.fixture(scope="package")
def post(server):
    """Return a function that posts a body and returns status and stderr of a checked answer."""

    def post(body: bytes, **headers: str) -> tuple[int, str]:
        return check(_post(server, body, **headers))

    return post


def _post(server, body: bytes, **headers: str) -> Answer:
    headers = {"Content-Type": "application/json", **headers}
    return server.request("POST", "/v1/exec", body, headers)


@FUZZ
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(post, body):
    assert post(body)[0] in (400, 404)


@FUZZ
@given(VALUES)
def test_arbitrary_json_is_refused(post, value):
    assert post(encode(value))[0] in (400, 404)


@FUZZ
@given(DOCUMENTS)
@example({**GOOD, "version": ESCAPES})
@example({**GOOD, "sandbox": ESCAPES})
@example({**GOOD, "files": {"": "true", ESCAPES: ""}})
@example({**GOOD, "files": {"": ESCAPES}})
@example({**GOOD, "stdin": ESCAPES})
@example({**GOOD, "args": [ESCAPES.replace("\0", "")] * 64})
@example({**GOOD, "runs": [{ESCAPES: 1, "stdin": ESCAPES}] * 32, "details": True})
@example({**GOOD, "command": "files", "outputs": True, "details": True})
def test_arbitrary_request_is_answered(post, document):
    assert post(encode(document))[0] in (200, 400, 404)


@FUZZ
@given(STDINS, ARGS, st.booleans())
def test_arbitrary_input_reaches_the_program_or_is_refused(server, stdin, args, is_run):
    code = 'printf "%s\\n" $#; printf "%s\\0" "$@"; cat'
    input = {"stdin": stdin, "args": args}
    more = {"runs": [{}, input]} if is_run else input
    answer = _post(server, encode({**GOOD, "files": {"": code}, **more, "details": True}))
    place = "runs[1]." if is_run else ""
    if any("\0" in text for text in args):
        assert check(answer) == (400, f"{place}args: must not contain NUL")
    elif stdin == "data:;base64,x":
        assert check(answer) == (400, f"{place}stdin: invalid base64 in the data URL")
    else:
        assert check(answer)[0] == 200
        last = answer.json()["results"][-1] if is_run else answer.json()
        texts = "".join(f"{text}\0" for text in map(valid, args)) or "\0"
        read = to_bytes(stdin).decode("utf-8", "replace")
        assert last["stdout"] == f"{len(args)}\n{texts}{read}"


@FUZZ
@given(DOCUMENTS, DOCUMENTS)
@example({"files": {"": "true", "\ud800": "\udfff"}}, {"files": {"": "true", "\ud800": "\udffe"}})
@example({"files": {"": "cat a", "a": "1"}}, {"files": {"": "cat a", "a": "2"}})
def test_arbitrary_request_is_never_remembered_for_another(server, first, second):
    answers = []
    for document in (first, second, first, second):
        body = encode({**document, "sandbox": "sh", "command": "cached", "details": True})
        answer = _post(server, body)
        status, stderr = check(answer)
        assert status in (200, 400)
        answers.append((status, answer.json()["stdout"], stderr))
    assert answers[:2] == answers[2:]


@FUZZ
@given(st.data())
def test_mutated_request_is_answered(post, data):
    body = bytearray(encode(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    assert post(bytes(body))[0] in (200, 400, 404)


def with_field(value: str) -> bytes:
    return encode(GOOD)[:-1] + f', "x": {value}}}'.encode()


NOT_JSON = (400, "the request is not valid JSON")
FINE = (200, "")


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"[" * 1_000_000, NOT_JSON),
        (b"[" * 500_000 + b"]" * 500_000, NOT_JSON),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, NOT_JSON),
        (with_field("[" * 100_000 + "]" * 100_000), NOT_JSON),
        (with_field("9" * 1_000_000), NOT_JSON),
        (with_field("-1e" + "9" * 1_000_000), FINE),
        (with_field("0." + "0" * 1_000_000 + "1"), FINE),
        (with_field("[" + "{}," * 300_000 + "{}]"), FINE),
        (with_field('"' + "\\u0000" * 150_000 + '"'), FINE),
        (b" " * 1_000_000 + encode(GOOD), FINE),
        # the last one counts, as in Codapi
        (b'{"sandbox": "no", ' + encode(GOOD)[1:], FINE),
        (encode(GOOD)[:-1] + b', "sandbox": "no"}', (404, "unknown sandbox")),
        (encode({**GOOD, "version": "x" * 1_000_000}), (200, "unknown box sh:" + "x" * 97)),
        (encode({**GOOD, "sandbox": "x" * 1_000_000}), (404, "unknown sandbox")),
        (encode({**GOOD, "stdin": "x" * 1_000_000}), FINE),
        (
            encode({**GOOD, "args": [""] * 200_000}),
            (400, "args: must have at most 64 texts"),
        ),
        (
            encode({**GOOD, "runs": [{}] * 200_000}),
            (400, "runs: must be a list of 1 to 32 objects"),
        ),
        (
            encode({**GOOD, "runs": [1] * 300_000}),
            (400, "runs: must be a list of 1 to 32 objects"),
        ),
        (encode({**GOOD, "runs": [{"args": ["x" * 8192]}] * 32}), FINE),
        (
            encode({**GOOD, "files": {"": "x", "x" * 1_000_000: ""}}),
            (200, f"files[{'x' * 100}…]: invalid name"),
        ),
        (
            encode({**GOOD, "files": {f"{n}": "" for n in range(10_001)}}),
            (200, "files[10000]: more than 10000 files and directories"),
        ),
        (
            encode({**GOOD, "files": {f"{n}/" + "a/" * 500 + "a": "" for n in range(900)}}),
            (200, f"files[19/{'a/' * 48}a…]: more than 10000 files and directories"),
        ),
    ],
    ids=lambda value: value[:20].decode() if isinstance(value, bytes) else value[1][:20],
)
def test_large_request_is_answered(post, body, answer):
    assert post(body) == answer


def test_request_with_a_thousand_files_is_executed(server):
    files = {"": "ls | wc -l", **{f"{number}": "x" for number in range(1000)}}
    status, body = server.exec("sh", "run", files)
    assert (status, body["stdout"]) == (200, "1001\n")


@pytest.mark.parametrize(
    "encoding", ["gzip", "deflate", "br", "gzip, identity", "x", "identity, x"]
)
def test_compressed_body_is_refused_without_unpacking(post, encoding):
    bomb = gzip.compress(bytes(500 << 20), 1) if encoding == "gzip" else zlib.compress(encode(GOOD))
    status, _ = post(bomb[:1_000_000], **{"Content-Encoding": encoding})
    assert status == 415
    assert post(bomb[:1_000_000]) == NOT_JSON


def test_answer_repeats_little_of_a_large_request(server):
    for name in ("sandbox", "command", "version", "x", "args", "runs"):
        assert len(_post(server, encode({**GOOD, name: "\0" * 150_000})).body) < 2000
    files = {"": "x", "\0" * 150_000: ""}
    assert len(_post(server, encode({**GOOD, "files": files})).body) < 2000


def test_largest_answer_is_bounded(server):
    code = "head -c 9000 /dev/zero; head -c 9000 /dev/zero >&2; exit 1"
    answer = _post(server, encode({**GOOD, "files": {"": code}, "details": True}))
    assert check(answer)[0] == 200
    assert len(json.loads(answer.body)["details"]["steps"][0]["stdout"]) == 4096
