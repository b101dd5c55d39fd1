"""Daemons of other versions: what is negotiated, and what is refused."""

import pytest

from codapi_flask.daemon.version import NEWEST, OLDEST, negotiate
from codapi_flask.errors import ServerFault, UnfitDaemon
from tests.support.server import REPOSITORY


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        ("1.41", "1.12", "1.41"),
        # Podman
        ("1.41", "1.24", "1.41"),
        ("1.44", None, "1.44"),
        ("1.51", "1.44", NEWEST),
        ("1.100", "1.9", NEWEST),
        ("2.0", NEWEST, NEWEST),
    ],
)
def test_newest_version_that_both_know_is_spoken(newest, oldest, spoken):
    assert negotiate({"ApiVersion": newest, "MinAPIVersion": oldest}) == spoken


@pytest.mark.parametrize(
    ("newest", "oldest", "reason"),
    [
        ("1.40", "1.12", "too old: it speaks API 1.40, this server API 1.41 to "),
        ("1.9", None, "too old: it speaks API 1.9, this server API 1.41 to "),
        ("1.120", "1.100", "too new: it speaks API 1.100 and later, this server API 1.41 to "),
    ],
)
def test_daemon_without_a_common_version_is_unfit(newest, oldest, reason):
    said = {"Version": "7.8.9", "ApiVersion": newest, "MinAPIVersion": oldest}
    with pytest.raises(UnfitDaemon, match=f"^the Docker daemon 7.8.9 is {reason}"):
        negotiate(said)


@pytest.mark.parametrize("said", [{}, [], "1.41", None, {"ApiVersion": 1}, {"ApiVersion": "x"}])
def test_other_answer_is_not_a_daemons(said):
    with pytest.raises(ServerFault, match="not that of a Docker daemon"):
        negotiate(said)


def test_readme_names_the_versions():
    assert f"API {OLDEST};" in (text := (REPOSITORY / "README.md").read_text())
    assert f"accept API {NEWEST})" in " ".join(text.split())
