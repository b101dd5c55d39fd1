"""The examples of a sandbox: requests, and what must be answered.

They are the files `examples/*.txt` beside its recipe, in `images/NAME/` or `sandboxes/NAME/`.

An example is a text of sections in the form of txtar (golang.org/x/tools/txtar): what precedes the
first line `-- NAME --` says what it shows. The sections:

    request       what the request has besides its files, in JSON; its command is `run`
    answer        what the answer has, in JSON: `ok` (true by default), and the names of `files`
    stdout        the exact stdout, but for a newline at its end
    stdout has    lines that are parts of stdout; `stderr has` likewise
    any other     a file of the request. The first one is the code. Without one it is the starter
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codapi_flask.client.target import Target, TargetError
from codapi_flask.config import layouts, references

MARKER = re.compile(r"^-- (.+) --\n", re.MULTILINE)

OWN = "request", "answer", "stdout", "stdout has", "stderr has"
"""The sections that are no files."""


@dataclass(frozen=True, slots=True)
class Example:
    """A request to a sandbox, and what its answer must have."""

    sandbox: str
    name: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]
    texts: Mapping[str, str]

    def problems(self, answer: Mapping[str, Any]) -> Iterator[str]:
        """Yield what an answer of the server lacks, or has otherwise."""
        expected: dict[str, Any] = {"ok": True, **self.answer}
        found = {"ok": answer.get("ok"), "files": sorted(answer.get("files", {}))}
        if "stdout" in self.texts:
            expected["stdout"] = self.texts["stdout"].removesuffix("\n")
            found["stdout"] = answer.get("stdout", "").removesuffix("\n")
        for key, value in expected.items():
            if found[key] != value:
                yield f"{key} must be {value!r}, not {found[key]!r}"
        for stream in "stdout", "stderr":
            for part in self.texts.get(f"{stream} has", "").splitlines():
                if part not in answer.get(stream, ""):
                    yield f"{stream} must have {part!r}"


def of_sandbox(root: Path, sandbox: str) -> list[Example]:
    """Return the examples of a sandbox, by name.

    Raises:
        ValueError: a file is no example, or the starter cannot be read; the text names it.
    """
    starter = layouts.starter_file(root, sandbox)
    text = references.read_starter(starter) if starter else ""
    folders = (root / place / sandbox / "examples" for place in ("images", "sandboxes"))
    files = [file for folder in folders for file in sorted(folder.glob("*.txt"))]
    return [_parse(file, sandbox, text) for file in files]


def try_all(target: Target, examples: Sequence[Example]) -> Iterator[tuple[Example, list[str]]]:
    """Execute examples, as many at once as the target does; yield each with its problems.

    They come as they end.
    """
    with ThreadPoolExecutor(target.size) as pool:
        futures = {pool.submit(target.execute, each.request): each for each in examples}
        for future in as_completed(futures):
            example = futures[future]
            try:
                yield example, [*example.problems(future.result().body)]
            except TargetError as error:
                yield example, [str(error)]


def _parse(file: Path, sandbox: str, starter: str) -> Example:
    _, *parts = MARKER.split(file.read_text(encoding="utf-8"))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    if len(sections) * 2 != len(parts) or not sections:
        raise ValueError(f"{file}: needs sections '-- NAME --', each of another name")
    try:
        request, answer = (
            dict(json.loads(sections.pop(name, "{}"))) for name in ("request", "answer")
        )
    except ValueError as error:
        raise ValueError(f"{file}: request and answer must be objects in JSON: {error}") from error
    if strange := answer.keys() - {"ok", "files"}:
        raise ValueError(f"{file}: an answer has ok and files, no {', '.join(sorted(strange))}")
    texts = {name: sections.pop(name) for name in OWN if name in sections}
    code = next(iter(sections), None)
    files = {"": sections.pop(code) if code else starter, **sections}
    whole = {"sandbox": sandbox, "command": "run", **request, "files": files}
    return Example(sandbox, file.stem, whole, answer, texts)
