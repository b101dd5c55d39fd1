import pytest

from codapi_flask.boxes.instance import Instance
from codapi_flask.config.model import BoxSpec
from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon.daemon import Daemon
from codapi_flask.stock.starter import Starter

pytestmark = pytest.mark.docker


def test_start_that_fails_again_for_the_same_reason_is_logged_once(tmp_path, caplog):
    started = []
    with Instance.created(tmp_path) as instance:
        starter = Starter(instance, lambda spec, box: started.append((spec.name, box)))
        for image in ("codapi/none", "codapi/none", "codapi/never", "codapi/none"):
            starter.order(BoxSpec(name="go", image=image))
        starter.end()
        starter.serve(Daemon(Timeouts()))
        assert not instance.leases()
    assert started == [("go", None)] * 4
    images = [record.getMessage().split("no image ")[1].split()[0] for record in caplog.records]
    assert images == ["codapi/none", "codapi/never", "codapi/none"]
