import pytest

pytestmark = pytest.mark.docker


def test_a_program_runs(server):
    print(server.pids)
    status, body = server.exec("sh", "run", "echo hello")
    assert (status, body["stdout"]) == (200, "hello\n")


def test_own(start_server, root):
    s = start_server(root(pool_size=1))
    print(s.pids)
    assert s.exec("sh", "run", "echo hello")[1]["ok"]
    assert s.stop() == 0
