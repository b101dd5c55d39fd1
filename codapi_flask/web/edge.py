"""What the HTTP transport asks of the application (`httpd.edge.Edge`)."""

from __future__ import annotations

from codapi_flask.config.model import Config
from codapi_flask.jobs.executor import Executor
from codapi_flask.models import Execution
from codapi_flask.web import answers
from codapi_flask.web.access import Access
from codapi_flask.web.shedding import Shedding


class WebEdge:
    """The limits, the load shedding and the error answers of one application."""

    def __init__(
        self, config: Config, shedding: Shedding, access: Access, executor: Executor
    ) -> None:
        self.max_body, self.read_timeout = config.max_body, config.read_timeout
        self.send_timeout = config.timeouts.send
        self.shed = shedding.answer
        self._access, self._executor = access, executor

    def is_busy(self) -> bool:
        """Whether a job is executed."""
        return self._executor.busy() > 0

    def error(self, status: int, origin: str = "", text: str = "") -> bytes:
        """Return a whole answer for a request that the transport refuses; the connection closes.

        `origin` is the page that asks. `text` replaces the status's usual text.
        """
        text = text or answers.TEXTS[status].format(max_body=self.max_body)
        headers = {"Connection": "close", **self._access.cors(origin)}
        return answers.encode(status, Execution("-", stderr=text), headers)
