"""Calls to the Docker daemon; errors of docker-py become `ServerFault`.

docker-py lets errors of `requests` and of sockets through; they are turned here, too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import docker.errors
import docker.utils
import requests
import urllib3
from docker.transport import UnixHTTPAdapter

from codapi_flask.config.timeouts import Timeouts
from codapi_flask.daemon import version
from codapi_flask.daemon.address import address
from codapi_flask.errors import DaemonGone, ServerFault

PAUSE = 0.01
"""Seconds between two polls of something that the daemon does not announce."""


class _OnePool(UnixHTTPAdapter):  # type: ignore[misc]
    """Reuses a connection for any call; docker-py keeps one for each of the last 25 URLs."""

    def get_connection(self, url: str, proxies: object = None) -> Any:
        """Return the pool of the only host."""
        return super().get_connection("")


class _Negotiating(docker.APIClient):  # type: ignore[misc]
    """Speaks the newest version of the API that both sides know."""

    def _retrieve_server_version(self) -> str:
        return version.negotiate(self.version(api_version=False))


class Client:
    """A connection to the Docker daemon, made at the first call. Not for use by two threads."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._api: docker.APIClient | None = None
        self._address = address()

    @property
    def url(self) -> str:
        """Where the daemon listens."""
        return str(self._address["base_url"])

    @property
    def is_local(self) -> bool:
        """Whether the daemon runs on this host: its boxes can reach this process's sockets."""
        return self.url.startswith(("unix://", "http+unix://"))

    @contextmanager
    def calls(self, what: str, deadline: float | None = None) -> Iterator[docker.APIClient]:
        """Yield the client for calls until the deadline; turn errors into `ServerFault`.

        Raises:
            DaemonGone: nothing listens at its address.
            ServerFault: the daemon is too slow, refuses a call, or is none.
            UnfitDaemon: it is too old or too new.
        """
        left = self.timeouts.call if deadline is None else max(deadline - time.monotonic(), PAUSE)
        try:
            if self._api is None:
                self._api = _Negotiating(**self._address, timeout=self.timeouts.call)
                if self.is_local:
                    url = docker.utils.parse_host(self._address["base_url"])
                    one = _OnePool(url, self.timeouts.call)
                    self._api.mount("http+docker://", one)
            # docker-py reads it at every call
            self._api.timeout = left if left < math.inf else None
            yield self._api
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            text = f"{what}: {error}"
            if "PermissionError" in text:
                text += ": this user needs the group of the Docker socket (group_add in compose)"
            raise (DaemonGone if _is_gone(error) else ServerFault)(text) from error


def _is_gone(error: BaseException | None) -> bool:
    """Whether the first cause of an error is that nothing listens at an address."""
    while error and not isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        error = error.__cause__ or error.__context__
    return error is not None
