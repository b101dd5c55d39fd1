import pytest

from codapi_flask.daemon.container import needed

V1 = {"cache": 9, "inactive_file": 1, "total_inactive_file": 7}
V2 = {"anon": 50, "file": 9, "inactive_file": 7}


@pytest.mark.parametrize("stats", [V1, V2], ids=["v1", "v2"])
def test_needed_memory_is_without_pages_that_the_kernel_may_drop(stats):
    assert needed({"usage": 60, "limit": 64, "stats": stats}) == (53, 64)


def test_memory_of_a_dead_container_is_unknown():
    with pytest.raises(KeyError):
        needed({})
