"""The examples of a sandbox, `images/NAME/examples/*.txt`: requests, and what must be answered.

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read(folder: Path, sandbox: str, starter: str) -> list[Example]:
    """Return the examples in a folder, by name.

    Raises:
        ValueError: a file is no example; the text names it.
    """
    files = sorted(folder.glob("*.txt"))
    return [_parse(file, sandbox, starter) for file in files]


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
