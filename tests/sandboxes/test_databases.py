"""Hostile executions beside good ones: each has a database of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from codapi_flask.config import layouts
from tests.support.server import REPOSITORY, Server

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.hostile]

AT_ONCE = 12
GOOD = 12


class Database(NamedTuple):
    """Programs for a database. `good` has a number to put in; `answer` is its stdout."""

    good: str
    answer: str
    hostile: list[str]


DATABASES = {
    "postgres": Database(
        r"""
        \pset format csv
        create table notes (n int primary key);
        insert into notes values (%d);
        select n, (select count(*) from pg_database) as total from notes;
        """,
        "n,total\n%d,2\n",
        [
            "create table notes (n int); insert into notes select generate_series(1, 1000);",
            "\\connect template1\ndrop database sandbox with (force); create database another;",
            "alter system set max_connections = 1; create role good login;",
            """
            create table t as select repeat('x', 1000) as text;
            do $$ begin loop insert into t select * from t; end loop; end $$;
            """,
            "select length(repeat('x', 200000000) || repeat('y', 200000000));",
            "\\! kill -9 -1",
            "select pg_sleep(60);",
        ],
    ),
    "mariadb": Database(
        """
        create table notes (n int primary key);
        insert into notes values (%d);
        select n, (select count(*) from information_schema.schemata) as total from notes;
        """,
        """\
+----+-------+
| n  | total |
+----+-------+
| %d |     3 |
+----+-------+
""",
        [
            "create table notes (n int); insert into notes select seq from seq_1_to_1000;",
            "drop database sandbox; drop database mysql; create database another;",
            "set global read_only = 1; create user good; shutdown;",
            """
            create table t (id int, text longtext);
            delimiter //
            for n in 1..100 do insert into t values (n, repeat('x', 1000000)); end for;
            //
            """,
            "system kill -9 -1",
            "select sleep(60);",
        ],
    ),
    "redis": Database(
        "set number %d\nget number\ndbsize",
        'OK\n"%d"\n(integer) 1\n',
        [
            "set number 0\nset other 1",
            "flushall\nshutdown nosave",
            "config set maxclients 1\nacl setuser default off",
            "eval \"for n = 1, 3000 do redis.call('set', n, string.rep('x', 20000)) end\" 0",
            "eval \"local t = {} while true do t[#t + 1] = string.rep('x', 10000) .. #t end\" 0",
            'eval "while true do end" 0',
            "debug sleep 60",
        ],
    ),
}


@pytest.fixture(params=DATABASES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a database whose image is built."""
    command = ["docker", "image", "inspect", f"codapi/{request.param}"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"no image codapi/{request.param}")
    return request.param


def test_good_executions_beside_hostile_ones_are_answered_exactly(
    name: str, root: Callable[..., Path], start_server: Callable[..., Server]
):
    database = DATABASES[name]
    boxes = layouts.read(REPOSITORY / "configs/boxes.json")
    commands = {name: layouts.read(REPOSITORY / f"configs/commands/{name}.json")}
    server = start_server(root({name: boxes[name]}, commands, pool_size=4, queue_timeout=300))
    good = [(database.good % n, database.answer % n) for n in range(10, 10 + GOOD)]
    hostile = [(program, "") for program in database.hostile * 2]
    pairs = zip_longest(hostile, good)
    mixed = [each for pair in pairs for each in pair if each]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda each: server.exec(name, "run", each[0]), mixed))
    for (program, expected), (status, body) in zip(mixed, answers, strict=True):
        assert status == 200, body
        if expected:
            assert (body["ok"], body["stdout"], body["stderr"]) == (True, expected, ""), program
