"""What is used of gunicorn's inside: a new release that lacks some of it fails here."""

import ast
import inspect
from collections import defaultdict
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn, ThreadWorker

from codapi_flask import httpd
from codapi_flask.httpd.compat import GUNICORN
from codapi_flask.httpd.worker import BufferingWorker

WORKER = "gunicorn.workers.gthread:ThreadWorker"
UNREADER = "gunicorn.http.unreader:Unreader"
OWNERS = {
    "arbiter": "gunicorn.arbiter:Arbiter",
    "app": "gunicorn.app.base:BaseApplication",
    "worker": "gunicorn.workers.base:Worker",
    "tmp": "gunicorn.workers.workertmp:WorkerTmp",
    "conn": "gunicorn.workers.gthread:TConn",
    "parser": "gunicorn.http:RequestParser",
    "unreader": UNREADER,
    "req": "gunicorn.http:Request",
    "body": "gunicorn.http.body:Body",
    "cfg": "gunicorn.config:Config()",
    "log": "gunicorn.glogging:Logger",
}
"""Classes of gunicorn's objects, by the last name of the expression that is one in our code."""
OVERRIDDEN = [name for name in vars(BufferingWorker) if hasattr(ThreadWorker, name)]
OVERRIDDEN = [name for name in OVERRIDDEN if not name.startswith("__")]


def used():
    """Return the attributes that the room's code uses of each class of gunicorn."""
    found = defaultdict(set, {WORKER: set(OVERRIDDEN), UNREADER: {"chunk"}})
    for source in Path(httpd.__file__).parent.glob("*.py"):
        # elsewhere they are no workers
        workers = ("self", "super") if source.name == "worker.py" else ()
        owners = OWNERS | dict.fromkeys(workers, WORKER)
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute) and (name := last_name(node.value)) in owners:
                found[owners[name]].add(node.attr)
    found[WORKER] -= {"__init__", "edge", *own_names()}
    return found


def last_name(node):
    match node:
        case ast.Call(func=ast.Name("super")):
            return "super"
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
    return None


def own_names():
    """Return the names of the worker that are not gunicorn's: all begin with an underscore."""
    nodes = ast.walk(ast.parse(inspect.getsource(BufferingWorker)))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return {name for name in names if name.startswith("_") and not name.endswith("__")}


def test_table_names_exactly_what_the_code_uses():
    assert {path: set(names.split()) for path, names in GUNICORN.names.items()} == used()


def test_installed_gunicorn_has_every_name_of_the_table():
    assert GUNICORN.problems() == []


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_overridden_method_takes_what_gunicorn_passes(name):
    own, peer = getattr(BufferingWorker, name), getattr(ThreadWorker, name)
    assert len(inspect.signature(own).parameters) == len(inspect.signature(peer).parameters)


def test_no_own_name_of_the_worker_is_one_of_gunicorns():
    worker = ThreadWorker(0, 0, [], None, 30, Config(), None)
    worker.tmp.close()
    assert own_names() & {*dir(worker)} == set()


def test_connection_is_made_of_config_socket_and_two_addresses():
    assert [*inspect.signature(TConn).parameters] == ["cfg", "sock", "client", "server"]
