import os

import pytest

from codapi_flask.boxes.box import Box
from codapi_flask.config.model import BoxSpec
from codapi_flask.errors import Cancelled
from codapi_flask.init import Stage
from codapi_flask.init.answers import ANSWER
from codapi_flask.models import Image
from codapi_flask.program import Program
from codapi_flask.streams import Cancel
from tests.support.boxes import make_box


def test_run_cancelled_before_its_program_leaves_no_descriptor():
    def end():
        raise Cancelled

    reason = os.eventfd(1)
    cancel = Cancel()
    cancel.add(reason, end)
    # neither a lease nor an init: they are not used
    box = Box(BoxSpec(name="sh", image="sh"), "id", Image("id"), None, None, "cold")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(Cancelled):
        box.run(Program(["true"], "sandbox"), cancel)
    assert set(os.listdir("/proc/self/fd")) <= before
    os.close(reason)


def test_reset_box_waits_no_longer(tmp_path):
    box, init = make_box(tmp_path, BoxSpec(name="sh", image="sh"))
    box.waits = True
    init.send(ANSWER.pack(ord("C"), 0, Stage.NONE, 0, 1, 0, 0, 0))
    assert box.reset(timeout=5)
    assert not box.waits
    box.discard()
    init.close()
