"""The systemd unit: systemd accepts it, and it confines the server."""

import re
import subprocess

import pytest

from codapi_flask.config.load import load_config
from codapi_flask.jobs.caching import MAX_WAITING
from codapi_flask.server.gunicorn import EXTRA_THREADS
from tests.support.server import GUNICORN, REPOSITORY

UNIT = REPOSITORY / "deploy/codapi.service"

systemd = pytest.mark.systemd


def analyze(*arguments):
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@systemd
def test_unit_is_valid(tmp_path):
    unit = tmp_path / UNIT.name
    # the program must exist
    unit.write_text(UNIT.read_text().replace("/opt/codapi/.venv/bin/gunicorn", GUNICORN))
    result = analyze("verify", "--recursive-errors=no", str(unit))
    assert (result.returncode, result.stdout) == (0, "")


@systemd
def test_unit_is_exposed_less_than_4():
    result = analyze("security", "--offline=true", "--threshold=40", str(UNIT))
    assert result.returncode == 0, result.stdout


def test_unit_has_room_for_the_tasks_of_two_servers():
    tasks = int(re.search(r"^TasksMax=(\d+)$", UNIT.read_text(), re.MULTILINE)[1])
    config = load_config(REPOSITORY)
    waiting = MAX_WAITING + (config.queue_size if config.queue_timeout else 0)
    # threads of the web process and one of each worker; the rest is at most as many as the extra
    assert 2 * (2 * config.pool_size + waiting + 2 * EXTRA_THREADS) <= tasks
