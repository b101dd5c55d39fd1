"""A gunicorn worker that reads a whole request before a thread gets it.

gunicorn's gthread blocks a thread for every connection until the client has sent the request's head
and body: a few half-sent requests stall the server. Here the event loop reads without blocking, and
a thread gets only complete requests.

The worker overrides methods of gunicorn's `ThreadWorker` and uses attributes of its connections
and parser, so gunicorn's version is pinned; `httpd.compat` names all of them.
"""

from __future__ import annotations

import errno
import selectors
import signal
import socket
import time
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from codapi_flask.httpd.departures import Departures
from codapi_flask.httpd.edge import Edge
from codapi_flask.httpd.lingering import LingeringClose
from codapi_flask.httpd.reading import RequestReader
from codapi_flask.httpd.request import RequestBuffer
from codapi_flask.httpd.sending import SendQueue
from codapi_flask.httpd.socket import BufferedSocket

ACCEPT_PAUSE = 0.05
"""Seconds without accepting when the process has no descriptors left."""

ACCEPTS = 64
"""Connections accepted in a row before the event loop serves the others again."""

END_PAUSE = 0.05
"""Seconds between two checks whether the application still works, at the end."""

LINGER, LINGER_MAX = 2.0, 1 << 16
"""Seconds that a client may take to close after its last answer, and bytes it may still send."""

REFUSED_LINGER, REFUSED_LINGER_MAX = 10.0, 8 << 20
"""The same for a client that is refused while it sends: it may read the answer only afterwards."""


class _Given(Unreader):  # type: ignore[misc]
    """The input of gunicorn's parser: what the event loop has read, and no more."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b""


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, whose event loop does the reading and the sending.

    The WSGI application has an attribute `edge` (`httpd.edge.Edge`).
    """

    edge: Edge

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # gunicorn computes it at each access
        self._is_ssl = self.cfg.is_ssl
        self._quits = self._cannot_accept = False
        self._notify_at = 0.0

    def load_wsgi(self) -> None:
        """Load the application and its edge."""
        super().load_wsgi()
        self.edge = self.wsgi.edge

    # cached properties: gunicorn creates the poller after __init__

    @cached_property
    def _reading(self) -> RequestReader:
        return RequestReader(self.poller, self.edge, self._close, self._refuse, self._answer)

    @cached_property
    def _sending(self) -> SendQueue:
        return SendQueue(self.poller, self.edge.send_timeout, self._close)

    @cached_property
    def _lingering(self) -> LingeringClose:
        return LingeringClose(self.poller, self._close)

    @cached_property
    def _departures(self) -> Departures:
        return Departures(self.poller)

    def enqueue_req(self, conn: Any) -> None:
        """Read a connection's next request; a thread answers it once it is complete."""
        if self._is_ssl:
            super().enqueue_req(conn)
            return
        data = b""
        if conn.initialized:
            # read beyond the last request
            data = conn.parser.unreader.take_buffered()
        elif not isinstance(conn.sock, BufferedSocket):
            conn.sock = BufferedSocket(conn.sock)
        self._reading.start(conn, data)

    def finish_request(self, conn: Any, answered: Any) -> None:
        """Keep or close a connection; unlike gunicorn's method it does not wait for the client."""
        is_lost = answered.cancelled() or answered.exception()
        if not self._is_ssl:
            self._departures.forget(conn)
        if self._is_ssl:
            super().finish_request(conn, answered)
        elif not is_lost and answered.result():
            self._sending.finish(conn, partial(super().finish_request, conn, answered))
        else:
            self._sending.finish(conn, partial(self._lingering.begin, conn, LINGER, LINGER_MAX))

    def accept(self, listener: socket.socket) -> None:
        """Accept the waiting connections; pause if the process has no descriptors left.

        gunicorn accepts only one at each poll, and reads all that came in between.
        """
        room = self.worker_connections - self.nr_conns
        try:
            for _ in range(min(room, ACCEPTS)):
                sock, address = listener.accept()
                self._cannot_accept = False
                self.nr_conns += 1
                sock.setblocking(True)
                self.enqueue_req(TConn(self.cfg, sock, address, listener.getsockname()))
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                raise
            if not self._cannot_accept:
                self.log.error("cannot accept connections: %s", error.strerror)
            self._cannot_accept = True
            time.sleep(ACCEPT_PAUSE)

    def run(self) -> None:
        """Serve; at a graceful end, also wait for what the application does beyond its answers."""
        super().run()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self.edge.is_busy() and time.monotonic() < deadline:
            self.notify()
            time.sleep(END_PAUSE)

    def init_signals(self) -> None:
        """Set the signal handlers; ignore SIGHUP: it is for the master, but reaches the group."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; a worker that ends refuses new connections at once."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            # gunicorn would leave them waiting until the last job has ended
            for listener in self.sockets:
                listener.close()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at the first signal only: Ctrl-C comes from the terminal and from the master."""
        # a second call would wait for a lock that the first holds
        if not self._quits:
            self._quits = True
            super().handle_quit(sig, frame)

    def notify(self) -> None:
        """Send gunicorn's master a heartbeat: once a second, not at each event."""
        if time.monotonic() >= self._notify_at:
            self._notify_at = time.monotonic() + 1
            super().notify()

    def murder_pending(self) -> None:
        """Close the connections of clients that did not send, receive or close in time."""
        super().murder_pending()
        self._lingering.end_overdue()
        self._sending.end_overdue()
        self._reading.end_overdue()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request; the answer is sent in one piece."""
        # RFC 9112, section 3.2
        if req.version > (1, 0) and all(name != "HOST" for name, _ in req.headers):
            self._answer_error(conn.sock, 400, "malformed request: no Host header")
            return False
        # gunicorn knows `close` only as the first header's whole value
        options = ",".join(value for name, value in req.headers if name == "CONNECTION")
        if "close" in [option.strip().lower() for option in options.split(",")]:
            req.force_close()
        if not self._is_ssl:
            # the event loop has sent it
            req._expected_100_continue = False
            with conn.sock.joined():
                stays = super().handle_request(req, conn)
            # the rest of the body: gunicorn would close the connection rather than read so much
            req.body.read()
            return stays
        conn.sock.settimeout(self.edge.send_timeout)
        try:
            return super().handle_request(req, conn)
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, "the client does not receive") from error

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer an error in the form of all errors; log it if it is not gunicorn's parser's."""
        is_fault = not type(exc).__module__.startswith("gunicorn.")
        if is_fault:
            self.log.exception("internal error")
            self._answer_error(client, 500)
        else:
            self._answer_error(client, 400, f"malformed request: {exc}"[:200])

    def _answer_error(self, sock: Any, status: int, text: str = "") -> None:
        with suppress(OSError):
            # TLS has no `origin`
            sock.sendall(self.edge.error(status, getattr(sock, "origin", ""), text))

    def _answer(self, conn: Any, buffer: RequestBuffer) -> None:
        """Shed a complete request, or give it to a thread."""
        if self._is_shed(conn, buffer):
            return
        conn.data_ready, conn.sock.origin = True, buffer.origin
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = _Given()
        conn.parser.unreader.unread(buffer.request())
        self._departures.watch(conn)
        super().enqueue_req(conn)

    def _is_shed(self, conn: Any, buffer: RequestBuffer) -> bool:
        """Whether the edge has shed the request, and its answer is sent."""
        is_kept = self.cfg.keepalive and len(self.keepalived_conns) < self.max_keepalived
        may_stay = self.alive and is_kept
        # an answer of the edge would be missing from gunicorn's access log and statsd
        is_logged = self.log.access_log_enabled or self.cfg.statsd_host
        parts = None if is_logged else buffer.parts
        shed = self.edge.shed(*parts) if parts and may_stay else None
        if not shed:
            return False
        answer, closes = shed
        try:
            conn.sock.sendall(answer)
        except OSError:
            self._close(conn)
            return True
        if closes:
            self._sending.finish(conn, partial(self._lingering.begin, conn, LINGER, LINGER_MAX))
        else:
            self._sending.finish(conn, partial(self._keep, conn))
        return True

    def _keep(self, conn: Any) -> None:
        """Wait for a client's next request, unless the worker ends."""
        if not self.alive:
            self._lingering.begin(conn, LINGER, LINGER_MAX)
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        goes_on = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, goes_on)

    def _refuse(self, conn: Any, status: int, origin: str) -> None:
        """Answer a request that is refused before a thread gets it."""
        try:
            conn.sock.sendall(self.edge.error(status, origin))
        except OSError:
            self._close(conn)
            return
        linger = REFUSED_LINGER if self.alive else LINGER
        end = partial(self._lingering.begin, conn, linger, REFUSED_LINGER_MAX)
        self._sending.finish(conn, end)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
