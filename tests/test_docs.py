import json
import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from codapi_flask.config import schema
from codapi_flask.config.load import load_config
from codapi_flask.config.model import Config
from codapi_flask.errors import ConfigError
from codapi_flask.web import answers
from codapi_flask.web.metrics import Metrics
from tests.support.documents import (
    DOCS,
    PAGES,
    anchors,
    blocks,
    config_files,
    files,
    sections,
    write_config,
)
from tests.support.server import REPOSITORY

CONFIG = DOCS / "config.md"
GROUPS = {"http": schema.HTTP, "auth": schema.AUTH, "cors": schema.CORS, "docker": schema.DOCKER}


def keys(model, prefix=""):
    """Return the documentation of a model's keys by name."""
    return {prefix + name: key.description for name, key in model.model_fields.items()}


KEYS = {
    "Top": {key: doc for key, doc in keys(schema.TOP).items() if key not in GROUPS}
    | {key: doc for name in GROUPS for key, doc in keys(GROUPS[name], f"{name}.").items()},
    "Boxes": keys(schema.BOX),
    "preload": keys(schema.PRELOAD),
    "Commands": keys(schema.COMMAND),
    "Steps": keys(schema.STEP),
}
EXAMPLES = [
    pytest.param(config_files(text), id=f"{page.name}: {title}")
    for page in PAGES
    for title, text in sections(page).items()
    if config_files(text) and title != "Mistakes"
]
each_page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def table(page, title):
    """Return the cells of the rows of a section's tables."""
    lines = [line for line in sections(page)[title].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def plain(cell):
    """Return a cell's text without links and code."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "")


@pytest.mark.parametrize("title", KEYS)
def test_config_table_names_every_key(title):
    named = [row[0].strip("`") for row in table(CONFIG, title)[1:]]
    assert sorted(named) == sorted(KEYS[title])


@pytest.mark.parametrize("title", KEYS)
def test_config_table_row_begins_with_the_keys_line(title):
    texts = {row[0].strip("`"): plain(row[3]) for row in table(CONFIG, title)[1:]}
    others = {key: text for key, text in texts.items() if not text.startswith(KEYS[title][key])}
    assert others == {}


def test_config_defaults_shown_are_in_force(tmp_path):
    shown = {
        title: {
            row[0].strip("`"): json.loads(row[2].strip("`"))
            for row in table(CONFIG, title)[1:]
            # other defaults are described in words, or absent
            if re.match(r'`["\[\dtf]', row[2])
        }
        for title in KEYS
    }
    # its keys have no defaults
    assert shown.pop("preload") == {}
    assert min(map(len, shown.values())) > 1

    def load(name, top, box, command, step):
        step = {"box": "sh", **step}
        commands = {"run": {**command, "steps": [step]}}
        texts = {
            "configs/config.json": top,
            "configs/boxes.json": {"sh": {"image": "codapi/sh", **box}},
            "configs/commands/sh.json": commands,
        }
        texts = {path: json.dumps(document) for path, document in texts.items()}
        return replace(load_config(write_config(tmp_path / name, texts)), root="")

    assert load("shown", *shown.values()) == load("silent", {}, {}, {}, {})


@pytest.mark.parametrize("texts", EXAMPLES)
def test_config_examples_load(tmp_path, texts):
    config = load_config(write_config(tmp_path, texts))
    assert config.boxes or config.commands


def test_config_mistakes_give_the_errors_shown(tmp_path):
    text = sections(CONFIG)["Mistakes"]
    root = write_config(tmp_path, config_files(text))
    with pytest.raises(ConfigError) as caught:
        load_config(root)
    shown = ["the config cannot be used:", *(f"  {line}" for line in caught.value.problems)]
    assert blocks(text, "text") == ["\n".join(shown) + "\n"]


def test_environment_table_names_every_variable():
    sources = [*REPOSITORY.glob("codapi_flask/**/*.py"), REPOSITORY / "gunicorn.conf.py"]
    code = "".join(source.read_text() for source in sources)
    names = set(re.findall(r"os\.environ\.get\(['\"](\w+)", code))
    assert {"CODAPI_ROOT", "PORT"} <= names
    told = " ".join(row[0] for row in table(CONFIG, "Environment"))
    assert [name for name in names if f"`{name}`" not in told] == []


def test_api_table_names_every_status():
    told = {row[1] for row in table(DOCS / "api.md", "What can happen")[1:]}
    # tests/web/test_openapi.py compares these with what the code sends
    assert told == {str(status) for status in answers.MEANINGS}


def test_api_table_shows_the_transports_texts():
    rows = table(DOCS / "api.md", "What can happen")[1:]
    for status, text in answers.TEXTS.items():
        sent = text.format(max_body=Config().max_body)
        told = [text for row in rows if row[1] == str(status) for text in row[3].split("`")[1::2]]
        assert any(sent.startswith(text.removesuffix("…")) for text in told), status


def test_metrics_table_names_every_metric():
    stock = {("sh", "idle"): 1}
    state = SimpleNamespace(
        size=0, lost=0, swept=0, stock=stock, failed_preloads={"sh": 1}, busy=lambda: 0
    )
    state.services = {"db": "ready"}
    cache = SimpleNamespace(requests={"hit": 1}, usage=lambda: (0, 0))
    lines = Metrics(state, cache).registry.collect()
    own = [metric for metric in lines if metric.name.startswith("codapi_")]
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in own}
    told = {row[0].strip("`") for row in table(DOCS / "deploy.md", "Metrics")[1:]}
    assert told == names


def test_walkthrough_shows_the_actual_recipe():
    text = sections(DOCS / "sandboxes.md")["Python, step by step"]
    shown = files(text, "dockerfile", "# ") | files(text, "text", "# ")
    assert set(shown) == {"images/python/Dockerfile", "images/python/requirements.txt"}
    assert shown == {name: (REPOSITORY / name).read_text() for name in shown}


@each_page
def test_page_links_resolve(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


@each_page
def test_page_make_targets_exist(page):
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = re.findall(r"(?:^|`|&& )make (?:-C \S+ )?([a-z-]+)", page.read_text(), re.MULTILINE)
    assert set(named) <= targets


@each_page
def test_page_files_exist(page):
    folders = "codapi_flask|deploy|docs|scripts|tests|benchmarks"
    for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text()):
        assert (REPOSITORY / name).exists(), name


@each_page
def test_page_commands_parse_in_a_shell(page):
    for code in blocks(page.read_text(), "sh"):
        subprocess.run(["bash", "-n"], input=code, text=True, check=True)


def test_sandboxes_table_is_that_of_the_configs():
    rows = table(DOCS / "sandboxes.md", "The repository's sandboxes")[1:]
    config = load_config(REPOSITORY)
    told = {row[0].strip("`"): (row[2], row[3]) for row in rows}
    assert told == {
        name: (", ".join(f"`{command}`" for command in commands), str(config.boxes[name].memory))
        for name, commands in config.commands.items()
    }
