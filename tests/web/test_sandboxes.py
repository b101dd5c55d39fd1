import pytest

from codapi_flask.config.load import load_config
from codapi_flask.config.model import BoxSpec, Command, Config, Step
from codapi_flask.config.offers import offered
from codapi_flask.web.app import App
from codapi_flask.web.metrics import Metrics
from tests.support.server import REPOSITORY

BOXES = ["sh", "sh:latest", "sh:2", "sh:10", "sh:1", "gcc:10", "gcc:1", "python", "shell:7"]
RUN = Step(box="sh", command=("sh", "main.sh"))
PLAIN = Command(entry="main.sh", steps=(RUN,))


class IdlePool:
    """Executes nothing."""

    def is_full(self):
        return False

    def problem(self):
        return ""


def config(command=PLAIN, **more):
    boxes = {name: BoxSpec(name=name, image="i") for name in BOXES}
    return Config(boxes=boxes, commands={"sh": {"run": command}}, **more)


def offer(command):
    [sandbox] = offered(config(command), {})
    [found] = sandbox.commands
    return found


@pytest.fixture
def get():
    """Return a function that asks for the sandboxes of a config."""

    def get(config=config(), method="GET", images={"i": "id"}, **headers):  # noqa: B006, B008
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        client = App(config, IdlePool(), Metrics(), lambda: images).test_client()
        return client.open("/v1/sandboxes", method=method, headers=headers)

    return get


def test_sandboxes_are_shown(get):
    answer = get(config(Command(entry="main.sh", steps=(RUN,), cache=60), titles={"sh": "Shell"}))
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    command = {
        "name": "run",
        "entry": "main.sh",
        "versions": ["2", "10", "1"],
        "stdin": True,
        "args": False,
        "outputs": False,
        "cache": 60,
        "installed": True,
    }
    sandbox = {"name": "sh", "title": "Shell", "starter": "", "commands": [command]}
    assert answer.json == {"sandboxes": [sandbox]}


def test_sandbox_without_a_title_has_its_name_as_one():
    [sandbox] = offered(config(), {})
    assert sandbox.title == "sh"


def test_sandboxes_and_commands_are_in_order_of_their_names():
    commands = {"b": {"z": PLAIN, "a": PLAIN}, "a": {"run": PLAIN}}
    found = offered(Config(commands=commands), {})
    assert [(each.name, [command.name for command in each.commands]) for each in found] == [
        ("a", ["run"]),
        ("b", ["a", "z"]),
    ]


@pytest.mark.parametrize(
    ("steps", "versions"),
    [
        ([RUN], ["2", "10", "1"]),
        ([Step(box="gcc"), RUN], ["10", "1"]),
        ([Step(box="python", version="latest"), RUN], ["2", "10", "1"]),
        ([Step(box="sh", version="2")], []),
        ([Step(box="python"), RUN], []),
        ([Step(box="python")], []),
        ([Step(box="redis", action="exec"), RUN], ["2", "10", "1"]),
        ([Step(box="redis", action="exec")], []),
    ],
)
def test_versions_are_those_that_every_step_has_a_box_of(steps, versions):
    assert offer(Command(steps=tuple(steps))).versions == versions
    *others, last = steps
    assert offer(Command(steps=(*others, last), after=last)).versions == versions
    assert offer(Command(before=last, steps=(*others, last))).versions == versions


@pytest.mark.parametrize(
    ("last", "takes"),
    [
        (RUN, True),
        (Step(box="redis", action="exec", command=("redis-cli",)), True),
        (Step(box="sh", stdin=True), False),
        (Step(box="sh", detach=True), False),
        (Step(box="redis", action="stop"), False),
    ],
)
def test_last_step_decides_whether_a_command_takes_stdin(last, takes):
    others = Step(box="sh", stdin=True), Step(box="redis", action="stop")
    assert offer(Command(before=others[0], steps=(others[0], last), after=others[1])).stdin is takes


def test_command_takes_args_if_a_step_says_where_they_go():
    step = Step(box="sh", command=("sh", ":args"))
    assert offer(Command(steps=(step, RUN))).args
    assert offer(Command(steps=(RUN, step))).args
    assert not offer(Command(steps=(Step(box="sh", command=("sh", "a:args")),))).args


def test_command_gives_files_if_a_step_allows_it():
    assert offer(Command(steps=(Step(box="sh", outputs=("*.png",)), RUN))).outputs
    assert not offer(PLAIN).outputs


def test_command_of_the_http_engine_takes_nothing():
    found = offer(Command(engine="http", entry="a", steps=(RUN,)))
    assert (found.versions, found.stdin, found.args, found.outputs) == ([], False, False, False)


def test_repository_has_titles_and_starters():
    found = {each.name: each for each in offered(load_config(REPOSITORY), {})}
    assert (found["python"].title, found["sh"].title) == ("Python", "Shell")
    assert all(sandbox.starter and sandbox.title for sandbox in found.values())


OTHER = Step(box="other")


@pytest.mark.parametrize(
    ("steps", "images", "installed"),
    [
        ([RUN], {"i": "id"}, True),
        ([RUN], {"i": ""}, False),
        ([RUN], {}, None),
        ([RUN, OTHER], {"i": "id", "o": "id"}, True),
        ([RUN, OTHER], {"i": "id", "o": "", "o1": ""}, False),
        ([RUN, OTHER], {"o": "", "o1": ""}, False),
        ([RUN, OTHER], {"i": "id"}, None),
        ([OTHER], {"o": "", "o1": "id"}, True),
        ([OTHER], {"o": "", "o1": ""}, False),
        ([OTHER], {"o": ""}, None),
        ([Step(box="sh", action="exec")], {}, True),
    ],
)
def test_command_is_installed_if_all_its_steps_have_an_image(steps, images, installed):
    boxes = {"sh": "i", "other": "o", "other:1": "o1"}
    found = offered(
        Config(
            boxes={name: BoxSpec(name=name, image=image) for name, image in boxes.items()},
            commands={"sh": {"run": Command(steps=tuple(steps))}},
        ),
        images,
    )
    assert found[0].commands[0].installed is installed


# HTTP


def test_client_that_has_the_sandboxes_gets_304(get):
    first = get()
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        answer = get(If_None_Match=known)
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Content-Type" not in answer.headers
    for unknown in ('"x"', "", "\xff"):
        answer = get(If_None_Match=unknown)
        assert (answer.status_code, answer.data) == (200, first.data)


def test_tag_is_another_one_after_a_change(get):
    assert get().headers["ETag"] != get(config(titles={"sh": "Shell"})).headers["ETag"]
    assert get().headers["ETag"] == get(config(tokens=())).headers["ETag"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 200), ("POST", 405)])
def test_other_methods_are_answered_as_elsewhere(get, method, status):
    answer = get(method=method)
    assert answer.status_code == status
    assert answer.headers["Access-Control-Allow-Methods"] == "options, post"


def test_sandboxes_need_a_token_if_there_is_one(get):
    closed = config(tokens=("secret",))
    assert get(closed).status_code == 401
    assert get(closed, If_None_Match="*").status_code == 401
    assert get(closed, Authorization="Bearer secret").status_code == 200
