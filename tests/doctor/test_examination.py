"""The order of the checks, and what ends them early."""

from __future__ import annotations

import pytest

from codapi_flask.doctor.examination import CHECKS, examine

pytestmark = pytest.mark.docker


def names(found):
    return list(dict.fromkeys(check.name for check, _ in found))


def test_everything_is_checked_in_order(root, tmp_path, monkeypatch):
    monkeypatch.setenv("CODAPI_WORK_DIR", str(tmp_path / "work-dir"))
    begun = []
    found = list(examine(root(), begun.append))
    assert begun == list(CHECKS)
    assert names(found) == [check.name for check in CHECKS]
    assert {finding.verdict for _, finding in found} <= {"fine", "weak"}


def test_nothing_follows_a_check_that_others_need(root, tmp_path, monkeypatch):
    (tmp_path / "work-dir").touch()
    monkeypatch.setenv("CODAPI_WORK_DIR", str(tmp_path / "work-dir"))
    *_, (last, finding) = examine(root())
    assert (last.name, finding.verdict) == ("work directory", "broken")
