"""What a config's sandboxes lack on a host."""

from __future__ import annotations

import pytest

from codapi_flask.doctor import sandboxes
from codapi_flask.doctor.finding import Finding
from tests.support.configs import BOXES, COMMANDS

pytestmark = pytest.mark.docker


def boxes(**more):
    return {**BOXES, "python": {**BOXES["python"], **more}}


def test_config_is_counted(subject):
    [finding] = sandboxes.config(subject())
    assert (finding.verdict, finding.text[:20]) == ("fine", "2 sandboxes, 2 boxes")


def test_errors_of_the_config_are_broken_and_the_defaults_are_tried(subject, root):
    host = subject(root(boxes=boxes(memory="much")))
    broken, weak = sandboxes.config(host)
    assert (broken.verdict, weak.verdict) == ("broken", "weak")
    assert broken.text.startswith("configs/boxes.json: python.memory: must be")
    assert list(sandboxes.images(host)) == list(sandboxes.audit(host)) == []
    assert [finding.verdict for finding in sandboxes.runtimes(host)] == []


def test_images_there_are_fine(subject):
    assert list(sandboxes.images(subject())) == [
        Finding("fine", "2 of 2 images are there, serving 2 of 2 sandboxes: python, sh")
    ]


@pytest.mark.parametrize(
    ("image", "remedy"),
    [
        ("codapi/none", "codapi sandbox build none"),
        ("example.org/none", "docker pull example.org/none, or build it"),
    ],
)
def test_missing_image_is_weak_with_its_sandboxes_and_the_command_that_gets_it(
    subject, root, image, remedy
):
    fine, weak = sandboxes.images(subject(root(boxes=boxes(image=image))))
    assert fine.text == "1 of 2 images are there, serving 1 of 2 sandboxes: sh"
    text = f"sandboxes without their image, build or pull it: python ({image})"
    assert weak == Finding("weak", text, remedy)


def test_host_without_any_image_is_broken(subject, root):
    none = {"sh": {"image": "codapi/none"}}
    first, _ = sandboxes.images(subject(root(none, {"sh": COMMANDS["sh"]})))
    assert first == Finding("broken", "0 of 1 images are there, serving no sandbox")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"network": "none-such"}, "without their network"),
        ({"runtime": "none-such"}, "without their runtime"),
    ],
)
def test_other_lack_is_broken(subject, root, more, text):
    _, broken = sandboxes.images(subject(root(boxes=boxes(**more))))
    assert (broken.verdict, text in broken.text) == ("broken", True)


def test_runtime_in_use_is_tried(subject):
    assert list(sandboxes.runtimes(subject())) == [Finding("fine", "runc runs a program")]


def test_warnings_of_the_audit_are_weak(subject, root):
    found = sandboxes.audit(subject(root(boxes=boxes(network="bridge"))))
    text = "box python: network bridge: programs reach what that reaches"
    assert Finding("weak", text) in list(found)
