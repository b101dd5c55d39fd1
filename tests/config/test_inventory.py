from dataclasses import replace

import pytest

from codapi_flask.config.inventory import Host, served, size, warnings
from codapi_flask.config.model import BoxSpec, Command, Config, Step

GIB = 1 << 30
HOST = Host(["i"], ["none", "bridge"], ["runc"], processors=2, disk=10 * GIB)
RUN = {"run": Command(steps=(Step(box="sh"),))}


def config(box=None, **other):
    box = BoxSpec(**{"name": "sh", "image": "i", **(box or {})})
    return Config(**{"boxes": {"sh": box}, "commands": {"sh": RUN}, **other})


@pytest.mark.parametrize(
    "box", [{}, {"network": "bridge"}, {"cpu": 2}, {"storage": "10g"}, {"storage": "9.5 GiB"}]
)
def test_sandbox_that_lacks_nothing_is_served_without_a_warning(box):
    assert list(warnings(config(box), HOST)) == []
    assert served(config(box), HOST) == "serving 1 of 1 sandboxes: sh"


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ({"image": "j"}, "without their image, build or pull it: sh (j)"),
        (
            {"network": "codapi"},
            "without their network, make it with docker network create: sh (codapi)",
        ),
        ({"runtime": "runsc"}, "without their runtime, install it in the daemon: sh (runsc)"),
        ({"cpu": 2.5}, "with more cpu than the host has, lower it: sh (2.5 of 2)"),
        ({"storage": "11g"}, "with more storage than the host has, lower it: sh (11g of 10 GiB)"),
    ],
)
def test_sandbox_that_lacks_something_is_named_and_not_served(box, said):
    assert list(warnings(config(box), HOST)) == [f"sandboxes {said}"]
    assert served(config(box), HOST) == "serving no sandbox"


def test_storage_that_docker_cannot_limit_is_named():
    host = replace(HOST, limits_storage=False)
    [warning] = warnings(config({"storage": "1g"}), host)
    assert warning.startswith("sandboxes with storage, which the daemon limits only with overlay2")
    assert warning.endswith(": sh (1g)")
    assert served(config({"storage": "1g"}), host) == "serving no sandbox"


def test_unknown_facts_of_the_host_give_no_warning():
    host = replace(HOST, processors=0, disk=0)
    assert list(warnings(config({"cpu": 99, "storage": "99t"}), host)) == []


def test_files_that_match_nothing_are_named_but_the_sandbox_is_served(tmp_path):
    (tmp_path / "lib/sub").mkdir(parents=True)
    (tmp_path / "lib/a.py").touch()
    files = ("lib/*.py", "lib/*.sh", "lib/s*", "none")
    given = config({"files": files}, root=str(tmp_path))
    [warning] = warnings(given, HOST)
    assert warning.startswith("sandboxes with files that match nothing")
    assert warning.endswith(": sh (lib/*.sh, lib/s*, none)")
    assert served(given, HOST).endswith(": sh")


def test_top_file_that_is_not_read_is_named(tmp_path):
    given = config(root=str(tmp_path))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/config.json").touch()
    assert list(warnings(given, HOST)) == []
    (tmp_path / "codapi.json").touch()
    assert list(warnings(given, HOST)) == [
        "configs/config.json is not read, as there is codapi.json: move its keys there"
    ]


def test_http_engine_needs_hosts():
    given = config(commands={"http": {"run": Command(engine="http")}})
    [warning] = warnings(given, HOST)
    assert warning.endswith("`host not allowed`, name hosts in http.hosts: http")
    assert served(given, HOST) == "serving no sandbox"
    given = replace(given, hosts={"a": "b"})
    assert list(warnings(given, HOST)) == []
    assert served(given, HOST).endswith(": http")


def test_each_kind_of_lack_is_one_warning_for_many_sandboxes():
    names = [f"s{number}" for number in range(44)]
    boxes = {n: BoxSpec(name=n, image=f"j/{n}", network="x", cpu=9, runtime="r") for n in names}
    commands = {n: {c: Command(steps=(Step(box=n),)) for c in ("run", "test")} for n in names}
    said = list(warnings(Config(boxes=boxes, commands=commands), HOST))
    assert len(said) == 4
    assert all(text.count("(") == 44 for text in said)


@pytest.mark.parametrize(
    ("missing", "is_served"),
    [(["python"], True), (["python:3"], True), (["python", "python:3"], False)],
)
def test_sandbox_is_served_with_one_version_of_its_box(missing, is_served):
    images = {"python": "p", "python:3": "p:3"}
    boxes = {name: BoxSpec(name=name, image=image) for name, image in images.items()}
    command = Command(steps=(Step(box="python"), Step(box="db", action="exec")))
    given = Config(boxes=boxes, commands={"python": {"run": command}})
    host = replace(HOST, images=[images[name] for name in images if name not in missing])
    assert (": python" in served(given, host)) is is_served
    [warning] = warnings(given, host)
    assert warning.endswith(f"python ({', '.join(images[name] for name in missing)})")


@pytest.mark.parametrize(
    ("text", "bytes"),
    [
        ("1g", GIB),
        ("512MiB", GIB / 2),
        ("1.5 GB", 1.5 * GIB),
        ("7", 7),
        ("7b", 7),
        ("", 0),
        ("x", 0),
    ],
)
def test_size_is_read_as_docker_reads_it(text, bytes):
    assert size(text) == bytes
