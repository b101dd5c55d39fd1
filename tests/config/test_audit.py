import pytest

from codapi_flask.config.audit import LIMITS, examine
from codapi_flask.config.model import BoxSpec, Command, Config, Step

HEALTHY = {
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "RuncCommit": {"ID": "1.2.3"},
}


def warnings(tmp_path, info=None, box=None, step=None):
    box = BoxSpec(**{"name": "sh", "image": "sh", **(box or {})})
    command = Command(steps=(Step(**{"box": "sh", **(step or {})}),))
    config = Config(boxes={"sh": box}, commands={"sh": {"run": command}})
    return list(examine(config, {**HEALTHY, **(info or {})}, tmp_path))


def test_examine_a_healthy_host_and_config_gives_no_warning(tmp_path):
    assert warnings(tmp_path) == []


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"MemoryLimit": False}, "ignores limits: memory"),
        ({"SwapLimit": False}, "ignores limits: swap"),
        ({"CpuCfsQuota": False}, "ignores limits: cpu"),
        ({"PidsLimit": False}, "ignores limits: nproc"),
        (dict.fromkeys(LIMITS, False), "ignores limits: memory, swap, cpu, nproc: one program can"),
        ({"Rootless": True}, "the daemon is Podman"),
        ({"SecurityOptions": []}, "no seccomp"),
        ({"SecurityOptions": None}, "no seccomp"),
        ({"RuncCommit": {"ID": "1.1.5+ds1"}}, "runc 1.1.5 is old"),
        ({"RuncCommit": {"ID": "v1.0.0"}}, "runc v1.0.0 is old"),
    ],
)
def test_examine_missing_daemon_features_are_named(tmp_path, info, said):
    (warning,) = warnings(tmp_path, info=info)
    assert said in warning


@pytest.mark.parametrize("commands", [{}, {"sh": {}}])
def test_examine_a_config_without_commands_is_reported(tmp_path, commands):
    (warning,) = examine(Config(commands=commands), HEALTHY, tmp_path)
    assert "has no command" in warning


@pytest.mark.parametrize(
    ("box", "step", "said"),
    [
        ({"network": "bridge"}, {}, "box sh: network bridge"),
        ({"cap_add": ("NET_ADMIN",)}, {}, "box sh: capabilities NET_ADMIN"),
        ({"cap_drop": ("NET_RAW",)}, {}, "box sh: root has capabilities"),
        ({"seccomp": "docker"}, {}, "box sh: seccomp is Docker's"),
        ({"seccomp": "{}"}, {}, "box sh: seccomp is a file's"),
        ({"ulimit": ("core=0",)}, {}, "box sh: programs make core dumps"),
        ({"writable": True}, {}, "watched, and limited to 64 MiB"),
        ({"writable": True, "storage": "1g"}, {}, "Docker limits its file system to 1g"),
        ({"volume": "%s:/sandbox", "storage": "1g"}, {}, "watched, and limited to 64 MiB"),
        ({"volume": "%s:/sandbox"}, {}, "box sh: programs may write to a disk"),
        ({}, {"user": "root"}, "commands that run as root, by sandbox: sh run"),
        ({}, {"user": "0:0"}, "run as root"),
        ({}, {"user": "root", "action": "exec"}, "run as root"),
    ],
)
def test_examine_permissive_settings_are_reported(tmp_path, box, step, said):
    assert any(said in warning for warning in warnings(tmp_path, box=box, step=step))


def test_examine_many_boxes_of_a_kind_are_one_warning(tmp_path):
    names = [f"box{number}" for number in range(44)]
    weak = {"network": "codapi", "writable": True, "cap_drop": (), "seccomp": "docker"}
    boxes = {name: BoxSpec(name=name, image="i", **weak) for name in names}
    commands = {name: {"run": Command(steps=(Step(box=name, user="root"),))} for name in names}
    config = Config(boxes=boxes, commands=commands)
    said = list(examine(config, HEALTHY, tmp_path, False, names))
    assert len(said) <= 9
    many = [text for text in said if text.startswith("boxes box0, box1, ")]
    assert {text.rpartition("box43: ")[2].partition(" ")[0] for text in many} == {
        "programs",
        "network",
        "the",
        "root",
        "seccomp",
    }


BOXES = [{"network": "bridge"}, {"seccomp": "docker"}]


@pytest.mark.parametrize("box", BOXES)
def test_examine_sockets_without_a_limit_are_named(tmp_path, box):
    config = Config(
        boxes={"sh": BoxSpec(name="sh", image="sh", **box)}, commands={"sh": {"run": Command()}}
    )
    said = "\n".join(examine(config, HEALTHY, tmp_path, sockets_are_bounded=False))
    assert "programs get no IP sockets" in said
    assert "box sh: the memory of sockets has no limit: with cgroup v1" in said


def test_examine_limited_sockets_give_no_warning(tmp_path):
    config = Config(commands={"sh": {"run": Command()}})
    assert list(examine(config, HEALTHY, tmp_path, sockets_are_bounded=True)) == []


def test_examine_boxes_of_the_servers_user_are_named(tmp_path):
    config = Config(commands={"sh": {"run": Command()}})
    (warning,) = examine(config, HEALTHY, tmp_path, shared=["sh"])
    assert warning.startswith("box sh: programs run as the server's user")


@pytest.mark.parametrize("commit", [None, {}, {"ID": ""}, {"ID": "abcdef"}])
def test_examine_unknown_runc_gives_no_warning(tmp_path, commit):
    assert warnings(tmp_path, info={"RuncCommit": commit}) == []
