import pytest

from codapi_flask.libraries import TODO, Inside

BODY = "gunicorn.http.body:Body"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (BODY, "read readline"),
        # set by __init__
        ("gunicorn.http.unreader:Unreader", "buf"),
        # set by a method of a base class
        ("gunicorn.workers.gthread:ThreadWorker", "nr_conns wsgi"),
        # computed
        ("gunicorn.config:Config()", "threads"),
    ],
)
def test_names_that_are_there_are_no_problem(path, names):
    assert Inside("gunicorn", 27, 28, {path: names}).problems() == []


@pytest.mark.parametrize(
    ("path", "names", "missing"),
    [
        (BODY, "read reed", f"{BODY}.reed"),
        ("gunicorn.config:Config()", "threats", "gunicorn.config:Config().threats"),
        ("gunicorn.http.body:Boddy", "read", "gunicorn.http.body:Boddy"),
        ("gunicorn.htttp:Body", "read", "gunicorn.htttp:Body"),
    ],
)
def test_each_missing_name_is_a_problem_with_its_place(path, names, missing):
    (problem,) = Inside("gunicorn", 27, 28, {path: names}).problems()
    assert problem.startswith("gunicorn 27.")
    assert problem.partition(" has no ")[2] == f"{missing}: {TODO}"


@pytest.mark.parametrize(("at_least", "below"), [(26, 27), (28, 29)])
def test_release_outside_the_range_is_the_only_problem(at_least, below):
    (problem,) = Inside("gunicorn", at_least, below, {BODY: "reed"}).problems()
    assert problem.endswith(f" is installed, gunicorn>={at_least},<{below} is needed: {TODO}")
