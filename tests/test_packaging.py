"""setup.cfg, constraints.txt and the checks at the start mean the same releases."""

import re
from configparser import ConfigParser

import pytest

from codapi_flask.daemon.compat import DOCKER, URLLIB3
from codapi_flask.httpd.compat import GUNICORN
from tests.support.server import REPOSITORY

SETUP = ConfigParser()
SETUP.read(REPOSITORY / "setup.cfg")
RUNTIME = SETUP["options"]["install_requires"].split()
EXTRAS = [line for extra in SETUP["options.extras_require"].values() for line in extra.split()]
TESTED = dict(re.findall(r"^([\w.-]+)==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.M))


def test_every_requirement_has_a_tested_version():
    required = {re.split("[<>=]", line)[0] for line in RUNTIME + EXTRAS}
    assert {"docker", "ruff"} <= required
    assert required <= {name.lower().replace("_", "-") for name in TESTED}


@pytest.mark.parametrize("inside", [GUNICORN, DOCKER, URLLIB3], ids=lambda inside: inside.name)
def test_pinned_range_is_the_one_that_is_checked_at_the_start(inside):
    found = [line for line in RUNTIME if line.startswith(f"{inside.name}>=")]
    (at_least, below) = re.fullmatch(r"[\w-]+>=(\d+)[\d.]*,<(\d+)", found[0]).groups()
    assert (int(at_least), int(below)) == (inside.at_least, inside.below)


@pytest.mark.parametrize("inside", [GUNICORN, DOCKER, URLLIB3], ids=lambda inside: inside.name)
def test_tested_version_is_in_the_pinned_range(inside):
    assert inside.at_least <= int(TESTED[inside.name].split(".")[0]) < inside.below
