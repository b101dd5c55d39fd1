"""What each key of the config files may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from codapi_flask.errors import FileError
from codapi_flask.files import check_name

Check = Callable[[Any], str | None]
"""Says what a value must be, or `None` when it is just that."""


def _shown(value: Any) -> str:
    return f"{value!r:.80}" if isinstance(value, str) else f"{json.dumps(value):.80}"


def _is(kind: type | tuple[type, ...], what: str, fits: Callable[[Any], bool]) -> Check:
    def check(value: Any) -> str | None:
        # bool is an int to Python, not to a config
        is_kind = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if is_kind and fits(value):
            return None
        return f"must be {what}, not {_shown(value)}"

    return check


def _each(check: Check) -> Check:
    def check_all(values: Any) -> str | None:
        if not isinstance(values, list):
            return f"must be a list, not {_shown(values)}"
        return next((f"[{i}]: {bad}" for i, v in enumerate(values) if (bad := check(v))), None)

    return check_all


def _matches(pattern: str, what: str) -> Check:
    return _is(str, what, re.compile(pattern).fullmatch)  # type: ignore[arg-type]


def _one_of(*words: str) -> Check:
    return _is(str, "one of " + ", ".join(map(repr, words)), words.__contains__)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _is_file_name(name: str) -> bool:
    try:
        check_name(name)
    except FileError:
        return not name
    return True


def _is_address(text: str) -> bool:
    parts = ADDRESS.fullmatch(text)
    return parts is not None and int((parts[2] or ":0")[1:]) < 1 << 16


def _is_limit(text: str) -> bool:
    limit = LIMIT.fullmatch(text)
    if not limit:
        return False
    # -1 is no limit
    soft, hard = (int(number or limit[2]) % MAX_LIMIT for number in (limit[2], limit[3]))
    return soft <= hard and (limit[1] != "nofile" or soft >= MIN_FILES)


def _secrets(values: Any) -> str | None:
    """Check a list of tokens, and show none of them."""
    is_list = isinstance(values, list) and all(isinstance(token, str) for token in values)
    if is_list and all(token and not set(token) & set(" \t\r\n") for token in values):
        return None
    return "must be a list of texts without white space"


TEXT = _is(str, "a text", lambda text: "\0" not in text)
WORD = _is(str, "a text that is not empty", lambda text: bool(text) and "\0" not in text)
FLAG = _is(bool, "true or false", lambda _: True)
COUNT = _is(int, "a whole number above 0", lambda number: 0 < number < 1 << 53)
BYTES = _is(int, "a whole number of bytes", lambda number: 0 <= number < 1 << 53)
AMOUNT = _is(
    (int, float), "a number above 0, up to a million", lambda number: 0 < number <= 1_000_000
)
ARGS = _each(TEXT)
PATH = _is(str, "a path inside the root", _inside)
OBJECT = _is(dict, "an object", lambda _: True)
ADDRESS = re.compile(r"([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
HOSTS = _is(
    dict,
    "an object of hosts, each like 'localhost:8000'",
    lambda hosts: all(isinstance(a, str) and _is_address(a) for a in hosts.values()),
)
LIMITS = "core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending"
LIMIT = re.compile(rf"({LIMITS}|stack)=(-1|\d{{1,18}})(?::(-1|\d{{1,18}}))?")
MAX_LIMIT = 1 << 63
MAX_NPROC = (4 << 20) - 1
"""The kernel's limit (linux/threads.h), of which init takes one."""
MIN_FILES = 16
"""Descriptors that Docker and our init need to start a program."""
ACTIONS = [
    f"SCMP_ACT_{name}"
    for name in ("ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP")
]

IMAGE = (
    # a registry, the repository, a tag, a digest
    r"(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+|/)[a-z0-9]+)*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,})?"
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
CAPABILITY = _matches(
    rf"(?i:(cap_)?({CAPABILITIES}))", "a capability, like 'net_bind_service', or 'all'"
)

BOX: Mapping[str, Check] = {
    "name": WORD,
    "image": _matches(IMAGE, "an image's name, like 'codapi/python:latest', in lower case"),
    "runtime": WORD,
    "cpu": AMOUNT,
    "memory": _is(int, "a whole number of MiB, at least 6", lambda number: 6 <= number < 1 << 43),
    "storage": TEXT,
    "network": WORD,
    "writable": FLAG,
    "volume": _matches(rf"%s:/[^:%]*(:({MODES})(,({MODES}))*)?", "like '%s:/sandbox:ro'"),
    "tmpfs": _each(_matches(r"/[^:]*(:[^:]*)?", "a path, maybe with options: '/tmp:size=16m'")),
    "cap_add": _each(CAPABILITY),
    "cap_drop": _each(CAPABILITY),
    "ulimit": _each(
        _is(str, "like 'nofile=96' or 'nofile=96:128' (soft, hard), nofile at least 16", _is_limit)
    ),
    "nproc": _is(int, "a whole number, 1 to 4194303", lambda number: 0 < number <= MAX_NPROC),
    "files": _each(PATH),
    "seccomp": WORD,
    "work_size": _is(int, "a whole number of MiB above 0", lambda number: 0 < number < 1 << 43),
    "warm": _is(int, "a number of boxes, 0 to 1000", lambda number: 0 <= number <= 1000),
    "uses": COUNT,
    "init": FLAG,
}
# Docker's form: https://docs.docker.com/engine/security/seccomp/
PROFILE = _is(
    dict,
    "an object with a defaultAction, like SCMP_ACT_ERRNO",
    lambda profile: profile.get("defaultAction") in ACTIONS,
)
STEP: Mapping[str, Check] = {
    "box": WORD,
    "version": TEXT,
    "user": _matches(r"[^:+\s\0]+(:[^:+\s\0]+)?", "a user's name or number, maybe with a group's"),
    "action": _one_of("run", "exec", "stop"),
    "detach": FLAG,
    "stdin": FLAG,
    "command": ARGS,
    "timeout": AMOUNT,
    "noutput": BYTES,
}
COMMAND: Mapping[str, Check] = {
    "engine": _one_of("docker", "http"),
    "entry": _is(str, "a file's name, like 'main.py' or 'src/main.py'", _is_file_name),
    "before": OBJECT,
    "steps": _each(OBJECT),
    "after": OBJECT,
}
TOP: Mapping[str, Check] = {
    "pool_size": COUNT,
    "stock_size": _is(int, "a number of boxes, 0 to 1000", lambda number: 0 <= number <= 1000),
    "verbose": FLAG,
    "work_dir": _matches(r"/[^:]*", "an absolute path without a colon"),
    "max_body": COUNT,
    "read_timeout": AMOUNT,
    "queue_timeout": _is(
        (int, float), "a number of seconds, 0 to 3600", lambda number: 0 <= number <= 3600
    ),
    "queue_size": _is(int, "a number of requests, 0 to 10000", lambda number: 0 <= number <= 10000),
    "box": OBJECT,
    "step": OBJECT,
    "http": OBJECT,
    "auth": OBJECT,
    "cors": OBJECT,
    "docker": OBJECT,
}
AUTH: Mapping[str, Check] = {"tokens": _secrets, "tokens_file": WORD}
CORS: Mapping[str, Check] = {
    "origins": _each(_matches(r"[a-z][a-z0-9+.-]*://[^/\s]+", "like 'https://example.org'"))
}
# of Codapi's docker settings, `tmp` is our work_dir; `bin` names a program that we do not need
DOCKER: Mapping[str, Check] = {"bin": TEXT, "tmp": TOP["work_dir"]}
