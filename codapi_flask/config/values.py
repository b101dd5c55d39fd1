"""The types of the values in config files: what each must be, in words and as a rule.

They annotate the fields of `config.model`; pydantic checks them for `config.schema`. The fork
server imports this module, which therefore does not import pydantic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from codapi_flask.errors import FileError
from codapi_flask.files import check_name, normalise


class Must:
    """What a value must be: `what` in words, `rules` in pydantic's core schema, `fits` in Python.

    pydantic finds the two methods by their names, so this module needs no import of it.
    """

    def __init__(self, what: str, fits: Callable[[Any], bool] | None = None, **rules: Any) -> None:
        self.what, self.fits, self.rules = what, fits, rules

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the type's schema with the rules; any violation has one message."""
        schema = {**handler(source), "strict": True, **self.rules}
        if self.fits:
            function = {"type": "no-info", "function": self._check}
            schema = {"type": "function-after", "function": function, "schema": schema}
        error = {"custom_error_type": "must", "custom_error_message": f"must be {self.what}"}
        return {"type": "custom-error", "schema": schema, **error}

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the type's JSON Schema with `what` as its description."""
        found = {**handler(schema), "description": self.what}
        # pydantic rejects names outside the pattern, JSON Schema by default allows them
        return {**found, "additionalProperties": False} if "patternProperties" in found else found

    def _check(self, value: Any) -> Any:
        if self.fits and not self.fits(value):
            raise ValueError
        return value


def _like(pattern: str, what: str, fits: Callable[[str], bool] | None = None) -> Must:
    """Return a rule that a text matches as a whole; Rust and JavaScript read the pattern, too."""
    return Must(what, fits, pattern=f"^(?:{pattern})$")


def _number(what: str, **rules: Any) -> Must:
    return Must(what, allow_inf_nan=False, **rules)


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _is_file_name(name: str) -> bool:
    try:
        check_name(normalise(name))
    except FileError:
        return not name
    return True


def _is_pattern(text: str) -> bool:
    parts = text.split("/")
    # `a**` would be read as `a*`
    stars = all("**" not in part or part == "**" for part in parts)
    return stars and "\0" not in text and not {"", ".", ".."} & {*parts}


def _has_port(address: str) -> bool:
    port = re.search(r":([0-9]+)$", address)
    return port is None or int(port[1]) < 1 << 16


def _is_limit(text: str) -> bool:
    name, _, values = text.partition("=")
    first, _, second = values.partition(":")
    # -1 is no limit
    soft, hard = (int(number) % MAX_LIMIT for number in (first, second or first))
    return soft <= hard and (name != "nofile" or soft >= MIN_FILES)


def _fits_exec(variables: dict[str, str]) -> bool:
    return sum(len(f"{name}={text}\0".encode()) for name, text in variables.items()) <= MAX_ENV


MAX_ENV = 1 << 17
"""Bytes of a single variable that execve(2) takes, and of all together with the least stack."""
LIMITS = (
    "core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending"
    "|stack"
)
MAX_LIMIT = 1 << 63
MAX_NPROC = (4 << 20) - 1
"""The kernel's limit (linux/threads.h), of which init takes one."""
MIN_FILES = 16
"""Descriptors that Docker and init need to start a program."""
IMAGE = (
    # a registry, the repository, a tag, a digest
    r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,})?"
)
"""Source: distribution, reference/reference.go."""
MODES = "ro|rw|z|Z|nocopy|r?private|r?shared|r?slave|consistent|cached|delegated"
"""Of volumes. Source: moby, volume/mounts/linux_parser.go."""
CAPABILITIES = (
    "all|audit_control|audit_read|audit_write|block_suspend|bpf|checkpoint_restore|chown"
    "|dac_override|dac_read_search|fowner|fsetid|ipc_lock|ipc_owner|kill|lease"
    "|linux_immutable|mac_admin|mac_override|mknod|net_admin|net_bind_service|net_broadcast"
    "|net_raw|perfmon|setfcap|setgid|setpcap|setuid|sys_admin|sys_boot|sys_chroot|sys_module"
    "|sys_nice|sys_pacct|sys_ptrace|sys_rawio|sys_resource|sys_time|sys_tty_config|syslog"
    "|wake_alarm"
)
"""Source: capabilities(7)."""
CAPABILITY = re.compile(rf"(cap_)?({CAPABILITIES})", re.IGNORECASE)

Text = Annotated[str, _like(r"[^\x00]*", "a text")]
Variable = Annotated[str, _like("[A-Za-z_][A-Za-z0-9_]*", "a variable's name")]
Variables = Annotated[
    dict[Variable, Text],
    Must(
        "an object of texts by variable (letters, digits and _), up to 128 KiB, "
        'like {"TZ": "Europe/Berlin"}',
        _fits_exec,
    ),
]
Word = Annotated[str, _like(r"[^\x00]+", "a text that is not empty")]
Flag = Annotated[bool, Must("true or false")]
Lazy = Annotated[Literal[False, True, "lazy"], Must("true, false or 'lazy'")]
Count = Annotated[int, Must("a whole number above 0", gt=0, lt=1 << 53)]
Amount = Annotated[float, _number("a number above 0, up to a million", gt=0, le=1_000_000)]
Seconds = Annotated[float, _number("a number of seconds, 0 to 3600", ge=0, le=3600)]
StartTime = Annotated[float, _number("a number of seconds, 1 to 600", ge=1, le=600)]
CacheTime = Annotated[
    float, _number("a number of seconds, 0 to 2592000 (30 days)", ge=0, le=2_592_000)
]
CacheSize = Annotated[int, Must("a whole number of MiB, 0 to 65536", ge=0, le=65_536)]
Boxes = Annotated[int, Must("a number of boxes, 0 to 1000", ge=0, le=1000)]
Requests = Annotated[int, Must("a number of requests, 0 to 10000", ge=0, le=10_000)]
Processes = Annotated[int, Must(f"a whole number, 1 to {MAX_NPROC}", ge=1, le=MAX_NPROC)]
Memory = Annotated[int, Must("a whole number of MiB, at least 6", ge=6, lt=1 << 43)]
StockMemory = Annotated[int, Must("a whole number of MiB, 0 or more", ge=0, lt=1 << 43)]
Disk = Annotated[int, Must("a whole number of MiB above 0", gt=0, lt=1 << 43)]

Module = Annotated[
    str, _like(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", "a module's name, like 'numpy' or 'os.path'")
]
Directory = Annotated[str, _like("/[^:]*", "an absolute path without a colon")]
Glob = Annotated[str, Must("a path inside the root", _is_inside)]
Pattern = Annotated[
    str, Must("a pattern below the work directory, like '*.png' or 'out/**'", _is_pattern)
]
OutputsSize = Annotated[int, Must("a whole number of KiB, 1 to 16384", ge=1, le=16_384)]
OutputsCount = Annotated[int, Must("a number of files, 1 to 1000", ge=1, le=1000)]
Entry = Annotated[str, Must("a file's name, like 'main.py' or 'src/main.py'", _is_file_name)]
Image = Annotated[str, _like(IMAGE, "an image's name, like 'codapi/python:latest', in lower case")]
Volume = Annotated[
    str, _like(rf"%s:/[^:%]*(?::(?:{MODES})(?:,(?:{MODES}))*)?", "like '%s:/sandbox:ro'")
]
Tmpfs = Annotated[str, _like("/[^:]*(?::[^:]*)?", "a path, maybe with options: '/tmp:size=16m'")]
Capability = Annotated[
    str,
    Must(
        "a capability, like 'net_bind_service', or 'all'",
        lambda name: CAPABILITY.fullmatch(name) is not None,
    ),
]
Ulimit = Annotated[
    str,
    _like(
        rf"(?:{LIMITS})=(?:-1|[0-9]{{1,18}})(?::(?:-1|[0-9]{{1,18}}))?",
        "like 'nofile=96' or 'nofile=96:128' (soft, hard), nofile at least 16",
        _is_limit,
    ),
]
User = Annotated[
    str,
    _like(r"[^:+\s\x00]+(?::[^:+\s\x00]+)?", "a user's name or number, maybe with a group's"),
]
Token = Annotated[str, _like("[!-~]+", "a text of ASCII characters without white space")]
Origin = Annotated[str, _like(r"[a-z][a-z0-9+.-]*://[^/\s]+", "like 'https://example.org'")]
Address = Annotated[
    str,
    _like(
        r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?",
        "a host, like 'localhost:8000'",
        _has_port,
    ),
]
