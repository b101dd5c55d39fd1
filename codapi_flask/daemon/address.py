"""Which daemon the environment names, and whether a client can be made of that."""

from __future__ import annotations

import os
import ssl
from typing import Any

import docker
import docker.constants
import docker.errors
import docker.utils

from codapi_flask.errors import ConfigError

DEFAULT = "unix:///var/run/docker.sock"

PATH_MAX = 107
"""Bytes of a Unix socket's path (unix(7))."""

LIKE = f"it must be like {DEFAULT} or tcp://HOST:PORT"


def address() -> dict[str, Any]:
    """Return docker-py's arguments for the daemon, from DOCKER_HOST and the variables of TLS.

    Raises:
        ConfigError: certificates are missing; the problem names the variable.
    """
    try:
        return {"base_url": DEFAULT, **docker.utils.kwargs_from_env()}
    except docker.errors.TLSParameterError as error:
        raise _tls_problem("there are no") from error


def check() -> None:
    """Make a client, without a call of the daemon.

    Raises:
        ConfigError: no client can be made; the problem names the variable and the remedy.
    """
    given = address()
    if tls := given.get("tls"):
        try:
            context = ssl.create_default_context(cafile=tls.ca_cert if tls.verify else None)
            context.load_cert_chain(*tls.cert)
        except OSError as error:
            raise _tls_problem("there are no usable") from error
    host = os.environ.get("DOCKER_HOST")
    try:
        base_url = docker.utils.parse_host(given["base_url"], tls="tls" in given)
        if base_url.startswith("http+unix://"):
            length = len(os.fsencode(base_url.removeprefix("http+unix://")))
            if length > PATH_MAX:
                raise ValueError(f"a path of {length} bytes is longer than {PATH_MAX}")
        # with a version, it does not ask the daemon
        docker.APIClient(**given, version=docker.constants.MINIMUM_DOCKER_API_VERSION).close()
    except Exception as error:
        # any exception: it would end every worker
        name, todo = f"DOCKER_HOST={host}", LIKE
        if not host:
            name, todo = "DOCKER_CONFIG", "mend or remove config.json in it (default: ~/.docker)"
        raise ConfigError([f"environment: {name}: {error}: {todo}"]) from error


def _tls_problem(what: str) -> ConfigError:
    directory = os.environ.get("DOCKER_CERT_PATH")
    if directory:
        name, todo = f"DOCKER_CERT_PATH={directory}", "put them there, or unset it"
    else:
        directory, todo = "~/.docker", "name their directory with DOCKER_CERT_PATH, or unset it"
        name = f"DOCKER_TLS_VERIFY={os.environ.get('DOCKER_TLS_VERIFY')}"
    files = "cert.pem, key.pem" + (" and ca.pem" if os.environ.get("DOCKER_TLS_VERIFY") else "")
    return ConfigError([f"environment: {name}: {what} {files} in {directory}: {todo}"])
