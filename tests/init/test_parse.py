"""init's parser of messages and of a box's files, called as a C library."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codapi_flask.init import Stage

SOURCES = Path(__file__).parents[2] / "codapi_flask" / "init"

PASSWD = b"""\
root:x:0:0:root:/root:/bin/bash
bad:x:1x:0::/bad:/bin/sh
sandbox:x:1000:1000:,,,:/sandbox:/bin/sh
twin:x:1000:7::/twin:/bin/sh
42:x:5:5::/five:/bin/sh
nohome:x:6:6
init:x:2147480001:6::/:/bin/sh
init2:x:7:2147480002::/:/bin/sh
"""
GROUP = b"""\
root:x:0:
wheel:x:10:root,sandbox
sandbox:x:1000:
audio:x:29:twin,sandbox,sandboxes
bad:x:x:sandbox
last:x:30:nosandbox,sandbox"""

RUN = b"R\0\2\0\1\0" + b"root\0sh\0-c\0A=b\0"


class Text(ctypes.Structure):
    _fields_ = (("at", ctypes.c_char_p), ("length", ctypes.c_size_t))

    @classmethod
    def of(cls, text: bytes) -> Text:
        return cls(text, len(text))


class Identity(ctypes.Structure):
    _fields_ = (
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("groups", ctypes.c_uint32 * 256),
        ("ngroups", ctypes.c_size_t),
        ("home", ctypes.c_char * (4096 + 6)),
    )


class Run(ctypes.Structure):
    _fields_ = (
        ("user", ctypes.c_char_p),
        ("argv", ctypes.c_char_p * 1025),
        ("env", ctypes.c_char_p * 1025),
    )


class Places(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p * 32),
        ("count", ctypes.c_size_t),
        ("mqueue", ctypes.c_bool),
        ("other", ctypes.c_bool),
    )


@pytest.fixture(scope="session")
def parser(compile_c: Callable[..., Path]) -> ctypes.CDLL:
    library = ctypes.CDLL(
        str(compile_c("parse.so", "-shared", "-fPIC", SOURCES / "parse.c")), use_errno=True
    )
    library.parse_run.restype = library.parse_env.restype = ctypes.c_bool
    library.parse_count.restype = ctypes.c_bool
    library.parse_pair.restype = ctypes.c_uint32
    library.parse_user.argtypes = (ctypes.c_char_p, Text, Text, ctypes.c_void_p)
    library.parse_count.argtypes = (Text, ctypes.c_char_p, ctypes.c_void_p)
    return library


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        (b"root", 0, 0, [0, 10], b"/root"),
        (b"sandbox", 1000, 1000, [1000, 10, 29, 30], b"/sandbox"),
        # numbers are never names; the first entry with the number counts
        (b"1000", 1000, 1000, [1000, 10, 29, 30], b"/sandbox"),
        (b"42", 42, 0, [0], b"/"),
        # the groups are those of the name, the home is that of the first entry with the number
        (b"twin", 1000, 7, [7, 29], b"/sandbox"),
        (b"sandbox:", 1000, 1000, [1000, 10, 29, 30], b"/sandbox"),
        (b"sandbox:audio", 1000, 29, [29], b"/sandbox"),
        (b"sandbox:77", 1000, 77, [77], b"/sandbox"),
        (b"4711", 4711, 0, [0], b"/"),
        (b"4711:wheel", 4711, 10, [10], b"/"),
        (b"2147483647:2147483647", 2147483647, 2147483647, [2147483647], b"/"),
        (b"nohome", 6, 6, [6], b""),
    ],
)
def test_user_lookup_matches_docker(
    parser: ctypes.CDLL, user: bytes, uid: int, gid: int, groups: list[int], home: bytes
) -> None:
    found = Identity()
    stage = parser.parse_user(user, Text.of(PASSWD), Text.of(GROUP), ctypes.byref(found))
    assert stage == Stage.NONE
    assert (found.uid, found.gid) == (uid, gid)
    assert list(found.groups[: found.ngroups]) == groups
    assert found.home == b"HOME=" + home


@pytest.mark.parametrize(
    ("ids", "most", "pair"),
    [
        (b"         0          0 4294967295\n", 2147480001, 2147480001),
        (b"         0     100000      65536\n", 2147480001, 65534),
        (b"         0     100000      65536\n", 65533, 65533),
        # rootless
        (b"         0       1000          1\n         1     100000      65536\n", 70000, 65535),
        (b"       100          5         10\n        50          9          3\n", 107, 107),
        (b"       100          5         10\n        50          9          3\n", 99, 51),
        (b"         0       1000          1\n", 70000, 0),
        (b"", 70000, 0),
    ],
)
def test_highest_pair_of_mapped_ids_is_found(
    parser: ctypes.CDLL, ids: bytes, most: int, pair: int
) -> None:
    assert parser.parse_pair(ids, ctypes.c_uint32(most)) == pair


@pytest.mark.parametrize(
    ("user", "stage"),
    [
        (b"", Stage.USER),
        (b":root", Stage.USER),
        (b"nosuch", Stage.USER),
        (b"bad", Stage.USER),
        (b"-1", Stage.USER),
        (b"+1", Stage.USER),
        (b"0x0", Stage.USER),
        (b"2147483648", Stage.USER),
        (b"18446744073709551616", Stage.USER),
        (b"root:nosuch", Stage.GROUP),
        (b"root:bad", Stage.GROUP),
        (b"root:-1", Stage.GROUP),
        # init's own ids
        (b"2147480001", Stage.USER),
        (b"2147480002", Stage.USER),
        (b"init", Stage.USER),
        (b"init2", Stage.GROUP),
        (b"root:2147480001", Stage.GROUP),
    ],
)
def test_unknown_or_reserved_user_is_refused(
    parser: ctypes.CDLL, user: bytes, stage: Stage
) -> None:
    found = Identity()
    assert parser.parse_user(user, Text.of(PASSWD), Text.of(GROUP), ctypes.byref(found)) == stage


def test_numeric_user_without_passwd_is_accepted(parser: ctypes.CDLL) -> None:
    found = Identity()
    nothing = Text.of(b"")
    assert parser.parse_user(b"1000:5", nothing, nothing, ctypes.byref(found)) == Stage.NONE
    assert (found.uid, found.gid, found.home) == (1000, 5, b"HOME=/")


def test_valid_run_is_parsed(parser: ctypes.CDLL) -> None:
    run, message = Run(), ctypes.create_string_buffer(RUN, len(RUN))
    assert parser.parse_run(message, len(RUN), ctypes.byref(run))
    assert run.user == b"root"
    assert list(run.argv[:3]) == [b"sh", b"-c", None]
    assert list(run.env[:2]) == [b"A=b", None]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        RUN[:6],
        RUN[:-1],
        RUN + b"\0",
        RUN + b"more\0",
        b"X" + RUN[1:],
        b"R\1" + RUN[2:],
        b"R\0\0\0\1\0" + b"root\0A=b\0",
        b"R\0\3\0\1\0" + RUN[6:],
        b"R\0\1\4\0\0" + b"root\0" + b"x\0" * 1025,
        b"R\0\1\0\1\4" + b"root\0x\0" + b"x\0" * 1025,
        b"R\0\1\0\0\0" + b"root\0" + b"x" * 65536 + b"\0",
    ],
)
def test_malformed_run_is_refused(parser: ctypes.CDLL, message: bytes) -> None:
    buffer = ctypes.create_string_buffer(message, max(len(message), 1))
    assert not parser.parse_run(buffer, len(message), ctypes.byref(Run()))


def _env(*variables: bytes) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(variables) + 1))(*variables, None)


@pytest.mark.parametrize(
    ("own", "image", "result"),
    [
        ([], [b"PATH=/bin", b"A=1"], [b"PATH=/bin", b"A=1", b"HOME=/h"]),
        ([b"A=2", b"B="], [b"A=1", b"C=3"], [b"A=2", b"B=", b"C=3", b"HOME=/h"]),
        # Docker sets HOME for root, the user init starts as; the image did not set it
        ([], [b"HOME=/root"], [b"HOME=/h"]),
        ([b"HOME=/image"], [b"HOME=/root"], [b"HOME=/image"]),
        ([b"AB=1"], [b"A=1", b"ABC=1", b"odd"], [b"AB=1", b"A=1", b"ABC=1", b"odd", b"HOME=/h"]),
        ([], [b"A=%d" % i for i in range(3)] + [b"V%d=" % i for i in range(1023)], None),
        ([], [b"V%d=" % i for i in range(1024)], None),
    ],
)
def test_variables_of_the_worker_precede_those_of_the_box(
    parser: ctypes.CDLL, own: list[bytes], image: list[bytes], result: list[bytes] | None
) -> None:
    out = (ctypes.c_char_p * 1025)()
    fits = parser.parse_env(_env(*own), _env(*image), b"HOME=/h", out)
    assert fits == (result is not None)
    if result is not None:
        assert list(out[: len(result) + 1]) == [*result, None]


@pytest.mark.parametrize(
    ("text", "key", "number"),
    [
        (b"123456\n", b"", 123456),
        (b"usage_usec 77\nuser_usec 5\n", b"usage_usec ", 77),
        (b"low 0\nmax 3\noom 9\noom_kill 2\noom_group_kill 1\n", b"\noom_kill ", 2),
        # memory.stat of version 2 and of version 1
        (b"anon 4096\nfile 8192\ninactive_anon 1\n", b"anon ", 4096),
        (b"cache 8192\nrss 4096\nrss_huge 1\ntotal_rss 2\n", b"\nrss ", 4096),
        (b"oom_kill_disable 1\nunder_oom 0\noom_kill 4\n", b"\noom_kill ", 4),
        (b"sockets: used 12\nTCP: inuse 1 orphan 0 tw 34 alloc 2\n", b" tw ", 34),
        (b"sockets: used 12\n", b" tw ", None),
        (b"usage_usec \n", b"usage_usec ", None),
        (b"", b"", None),
        (b"x", b"", None),
    ],
)
def test_counter_is_the_number_after_its_key(
    parser: ctypes.CDLL, text: bytes, key: bytes, number: int | None
) -> None:
    found = ctypes.c_uint64()
    assert parser.parse_count(Text.of(text), key, ctypes.byref(found)) == (number is not None)
    if number is not None:
        assert found.value == number


ROOT = b"1 0 0:1 / / ro,relatime master:2 - overlay overlay rw,lowerdir=/x\n"
MQUEUE = b"2 1 0:2 / /dev/mqueue rw,nosuid - mqueue mqueue rw\n"


@pytest.mark.parametrize(
    ("mounts", "places", "other"),
    [
        (b"", [], False),
        (b"3 1 0:3 / /proc rw - proc proc rw\n4 1 0:3 / /sys rw - sysfs sysfs rw\n", [], False),
        (b"3 1 0:3 / /tmp rw,nosuid - tmpfs tmpfs rw,size=64k\n", [b"/tmp"], False),
        (b"3 1 0:3 / /a\\040b\\134c rw shared:1 master:2 - tmpfs t rw\n", [b"/a b\\c"], False),
        (b"3 1 0:3 / /tmp ro - tmpfs tmpfs rw\n4 1 0:4 / /t rw - tmpfs tmpfs ro\n", [], False),
        (b"3 1 0:3 /null /proc/keys rw,nosuid - tmpfs tmpfs rw\n", [], False),
        (b"3 1 8:0 /lib/hosts /etc/hosts ro - ext4 /dev/sda rw\n", [], False),
        # foreign mounts, or ones that could hide files
        (b"3 1 8:0 /lib/hosts /etc/hosts rw - ext4 /dev/sda rw\n", [], True),
        (b"3 1 0:3 /work /sandbox rw - tmpfs tmpfs rw\n", [], True),
        (b"3 1 0:3 / /x rw - newfs x rw\n", [], True),
        (b"".join(b"3 1 0:3 / /t%d rw - tmpfs t rw\n" % i for i in range(32)), None, True),
        (b"nonsense\n", [], False),
    ],
)
def test_mounts_that_programs_may_fill_are_places(
    parser: ctypes.CDLL, mounts: bytes, places: list[bytes] | None, other: bool
) -> None:
    found = Places()
    text = ctypes.create_string_buffer(ROOT + MQUEUE + mounts, len(ROOT + MQUEUE + mounts))
    parser.parse_mounts(text, len(text), None, ctypes.byref(found))
    assert (found.mqueue, found.other) == (True, other)
    if places is not None:
        assert list(found.path[: found.count]) == [b"/dev/mqueue", *places]


def test_mounted_work_directory_is_left_to_the_worker(parser: ctypes.CDLL) -> None:
    mounts = ROOT + MQUEUE + b"3 1 8:0 /x/work /my\\040work rw - ext4 /dev/sda rw\n"
    for excluded, other in ((b"/my work", False), (b"/my", True), (None, True)):
        found, text = Places(), ctypes.create_string_buffer(mounts, len(mounts))
        parser.parse_mounts(text, len(text), excluded, ctypes.byref(found))
        assert found.other is other


@pytest.mark.parametrize(
    ("root", "other"), [(b"/null", False), (b"/", True)], ids=["a device", "all devices"]
)
def test_device_of_the_host_is_harmless(parser: ctypes.CDLL, root: bytes, other: bool) -> None:
    mounts = ROOT + MQUEUE + b"3 1 0:6 " + root + b" /dev/null rw - devtmpfs devtmpfs rw\n"
    found, text = Places(), ctypes.create_string_buffer(mounts, len(mounts))
    parser.parse_mounts(text, len(text), None, ctypes.byref(found))
    assert found.other is other


def test_writable_root_is_no_place(parser: ctypes.CDLL) -> None:
    found, text = Places(), ctypes.create_string_buffer(ROOT.replace(b" ro,", b" rw,"))
    parser.parse_mounts(text, len(text), None, ctypes.byref(found))
    assert found.other
    assert found.count == 0


SEEDS = {
    "run": b"R" + RUN,
    "user": b"Usandbox:audio\0" + PASSWD + b"\0" + GROUP,
    "number": b"U1000\0" + PASSWD + b"\0" + GROUP,
    "mounts": b"M" + ROOT + MQUEUE + b"3 1 0:3 / /a\\040b rw - tmpfs tmpfs rw\n",
    "counter": b"Clow 0\nmax 3\noom 9\noom_kill 2\n",
}


def test_parser_survives_random_bytes(compile_c: Callable[..., Path], tmp_path: Path) -> None:
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DSTANDALONE"]
    fuzz = compile_c("fuzz", *sanitize, Path(__file__).with_name("fuzz.c"), SOURCES / "parse.c")
    for name, seed in SEEDS.items():
        (tmp_path / name).write_bytes(seed)
    subprocess.run([fuzz, "50000", *sorted(tmp_path.iterdir())], check=True, timeout=120)


@pytest.mark.skipif("CODAPI_FUZZ_SECONDS" not in os.environ, reason="`make fuzz-init` runs it")
def test_parser_survives_coverage_guided_fuzzing(tmp_path: Path) -> None:
    corpus, fuzz = tmp_path / "corpus", tmp_path / "fuzz"
    corpus.mkdir()
    for name, seed in SEEDS.items():
        (corpus / name).write_bytes(seed)
    sanitize = ["-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    sources = [Path(__file__).with_name("fuzz.c"), SOURCES / "parse.c"]
    subprocess.run(["clang", *sanitize, f"-I{SOURCES}", "-o", fuzz, *sources], check=True)
    limits = [f"-max_total_time={os.environ['CODAPI_FUZZ_SECONDS']}", "-max_len=70000"]
    subprocess.run([fuzz, *limits, "-print_final_stats=1", corpus], check=True, cwd=tmp_path)
