"""Environments that no Docker client can use; each would end every worker."""

import pytest

from codapi_flask.daemon import address
from codapi_flask.errors import ConfigError

CERTIFICATE = "DOCKER_CERT_PATH={files}: there are no usable cert.pem, key.pem"


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        (
            {"DOCKER_CERT_PATH": "/nonexist"},
            "DOCKER_CERT_PATH=/nonexist: there are no cert.pem, key.pem in /nonexist: put them",
        ),
        (
            {"DOCKER_TLS_VERIFY": "1", "HOME": "/nonexist"},
            "DOCKER_TLS_VERIFY=1: there are no cert.pem, key.pem and ca.pem in ~/.docker: name",
        ),
        ({"DOCKER_CERT_PATH": "{files}"}, CERTIFICATE),
        ({"DOCKER_CERT_PATH": "{files}", "DOCKER_TLS_VERIFY": "1"}, CERTIFICATE),
        ({"DOCKER_HOST": "tcp://"}, "DOCKER_HOST=tcp://: Invalid bind address format"),
        ({"DOCKER_HOST": "/docker.sock"}, "DOCKER_HOST=/docker.sock: Invalid bind address"),
        ({"DOCKER_HOST": "ftp://here:1"}, "DOCKER_HOST=ftp://here:1: Invalid bind address"),
        ({"DOCKER_HOST": "tcp://here:port"}, "DOCKER_HOST=tcp://here:port: Port could not"),
        ({"DOCKER_HOST": "tcp://[::1"}, "DOCKER_HOST=tcp://[::1: Invalid IPv6 URL: it must be"),
        ({"DOCKER_HOST": "ssh://me@here"}, "DOCKER_HOST=ssh://me@here: Install paramiko"),
        ({"DOCKER_HOST": f"unix:///{'a' * 120}"}, "a path of 121 bytes is longer than 107"),
        ({"DOCKER_CONFIG": "{files}"}, "DOCKER_CONFIG: "),
    ],
)
def test_problem_names_variable_and_remedy(tmp_path, monkeypatch, variables, problem):
    for name in ("cert", "key", "ca"):
        (tmp_path / f"{name}.pem").write_text("no certificate")
    (tmp_path / "config.json").write_text('{"proxies": []}')
    for name, text in variables.items():
        monkeypatch.setenv(name, text.format(files=tmp_path))
    with pytest.raises(ConfigError) as error:
        address.check()
    [found] = error.value.problems
    assert found.startswith("environment: ")
    assert problem.format(files=tmp_path) in found
    assert "\n" not in found


@pytest.mark.parametrize("host", ["", "unix://", "unix:///x", "http+unix:///x", "tcp://here:2375"])
def test_usable_address_is_accepted_without_a_call(monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    address.check()
