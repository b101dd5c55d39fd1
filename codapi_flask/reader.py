"""A gunicorn worker that reads a whole request before it gives it a thread.

gunicorn's gthread lends a thread to whoever connects, and waits with it for the request's head
and body for as long as the client likes: a few half-sent requests silence the server. Here the
event loop reads, without blocking; a thread gets requests that are complete, and waits for no
client. Each request has a deadline for its head and body together.
"""

from __future__ import annotations

import errno
import select
import selectors
import signal
import socket
import time
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from codapi_flask.access import Access
from codapi_flask.client import Client
from codapi_flask.incoming import Incoming
from codapi_flask.models import Execution
from codapi_flask.parting import Parting
from codapi_flask.refusals import response
from codapi_flask.sending import SEND_TIMEOUT, Sending

CHUNK = 1 << 16
PAUSE = 0.05
"""Seconds without accepting when there are no descriptors left."""

STAY = 0.01
"""Seconds for which a thread stays with a client that may send its next request."""

SPARE_THREADS = 12
"""Threads that stay with nobody: they are for those who come."""

ACCEPTS = 64
"""Connections that are accepted at once, before the others are looked after again."""

LINGER, LINGER_MAX = 2.0, 1 << 16
"""Seconds that a client may take to leave after its last answer, and bytes it may still send."""

REFUSED_LINGER, REFUSED_LINGER_MAX = 10.0, 8 << 20
"""The same for a client that is refused while it sends: it may look for an answer only then."""

REFUSALS = {
    400: "malformed request: this is not HTTP/1.1, or has bad chunks, or too many, or no end",
    408: "the request did not come in time",
    413: "the request is larger than {max_body} bytes",
    431: "malformed request: the head is too large",
    503: "too many requests are being sent",
}


class _Given(Unreader):  # type: ignore[misc]
    """What gunicorn's parser reads from: it has what came, and never waits for more."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        return b""


class ReadingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker, with the reading done by its event loop."""

    read_timeout = 10.0
    """Seconds that a client may take to send a request."""

    max_body = 1 << 20
    """Bytes of a body beyond which the application refuses it anyway."""

    incoming_max = 1 << 28
    """Bytes of all requests that are being sent together; beyond, the oldest is refused."""

    access = Access()
    """Which pages may read our own answers."""

    def refusal(self, head: bytes, body: bytes) -> tuple[bytes, bool] | None:
        """Return the answer to a request that needs no thread, and whether to close after it."""
        return None

    def is_full(self) -> bool:
        """Whether the next request is refused anyway."""
        return False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # computed at each look
        self._is_ssl = self.cfg.is_ssl
        # in the order of their deadlines
        self._incoming: dict[Any, Incoming] = {}
        # connections that a thread has, or waits for; only the event loop changes it
        self._given = 0
        self._quits = self._cannot_accept = False
        self._notify_at = 0.0

    @cached_property
    def _parting(self) -> Parting:
        # gunicorn makes the poller late
        return Parting(self.poller, self._close)

    @cached_property
    def _sending(self) -> Sending:
        return Sending(self.poller, self._close)

    def enqueue_req(self, conn: Any) -> None:
        """Read a connection's next request; then a thread answers it."""
        if self._is_ssl:
            super().enqueue_req(conn)
            return
        incoming = Incoming(time.monotonic() + self.read_timeout, self.max_body)
        if conn.initialized:
            # what was read beyond the last request
            incoming.data += conn.parser.unreader.take_buffered()
        elif not isinstance(conn.sock, Client):
            conn.sock = Client(conn.sock)
        self._incoming[conn] = incoming
        # what is all there, as nearly always, needs no wait
        self._read(conn)

    def handle(self, conn: Any) -> Any:
        """Answer a request, in a thread, and those that follow at once."""
        goes_on = super().handle(conn)
        while goes_on is True and self._has_next(conn):
            goes_on = super().handle(conn)
        return goes_on

    def finish_request(self, conn: Any, answered: Any) -> None:
        """Keep a connection, or end it: not by waiting for the client, as gunicorn would."""
        self._given -= 1
        is_lost = answered.cancelled() or answered.exception()
        if self._is_ssl:
            super().finish_request(conn, answered)
        elif not is_lost and answered.result():
            self._sending.finish(conn, partial(super().finish_request, conn, answered))
        else:
            self._sending.finish(conn, partial(self._parting.begin, conn, LINGER, LINGER_MAX))

    def accept(self, listener: socket.socket) -> None:
        """Accept the connections that wait; out of descriptors, wait for others to end.

        gunicorn takes one at each look, and between two looks reads all that came.
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
            time.sleep(PAUSE)

    def init_signals(self) -> None:
        """Set what signals do; SIGHUP is for gunicorn's master, though all of a group get it."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; at the end, they are refused from now on."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            # gunicorn would keep them waiting until the last job has ended
            for listener in self.sockets:
                listener.close()

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End at once, and once: Ctrl-C comes from the terminal and from gunicorn's master."""
        # the second would wait for a lock that the first holds
        if not self._quits:
            self._quits = True
            super().handle_quit(sig, frame)

    def notify(self) -> None:
        """Tell gunicorn's master that we live: every second will do, not at each event."""
        if time.monotonic() >= self._notify_at:
            self._notify_at = time.monotonic() + 1
            super().notify()

    def murder_pending(self) -> None:
        """Close the connections of those who did not send, or did not leave, in time."""
        super().murder_pending()
        self._parting.end_overdue()
        self._sending.end_overdue()
        now = time.monotonic()
        for conn, incoming in list(self._incoming.items()):
            if incoming.deadline > now:
                break
            if incoming.size:
                self._refuse(conn, 408)
            else:
                self._drop(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Have a request answered, its answer sent in one piece."""
        if not self._is_ssl:
            # the reader has said so
            req._expected_100_continue = False
            with conn.sock.joined():
                stays = super().handle_request(req, conn)
            # what the application did not want: gunicorn closes rather than read so much
            req.body.read()
            return stays
        conn.sock.settimeout(SEND_TIMEOUT)
        try:
            return super().handle_request(req, conn)
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, "the client does not receive") from error

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what gunicorn's parser refuses in the form of all our errors."""
        fault = not type(exc).__module__.startswith("gunicorn.")
        if fault:
            self.log.exception("internal error")
        with suppress(OSError):
            if fault:
                client.sendall(self._answer(500, "internal error"))
            else:
                client.sendall(self._answer(400, f"malformed request: {exc}"[:200]))

    def _read(self, conn: Any) -> None:
        incoming = self._incoming.get(conn)
        if incoming is None:
            # refused to make room, by another event of the same look
            return
        try:
            while not incoming.is_complete():
                data = conn.sock.recv(CHUNK)
                if not data:
                    if incoming.size:
                        self._refuse(conn, 400)
                    else:
                        self._drop(conn)
                    return
                before = incoming.size // CHUNK
                incoming.data += data
                # gunicorn.conf.py allows no more connections than may have that much each
                if incoming.size // CHUNK > before:
                    self._make_room(conn)
        except BlockingIOError:
            if not incoming.is_awaited:
                incoming.is_awaited = True
                self.poller.register(conn.sock, selectors.EVENT_READ, lambda _: self._read(conn))
            if incoming.wants_continue:
                incoming.wants_continue = False
                with suppress(OSError):
                    conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        except OSError:
            self._drop(conn)
            return
        if incoming.refusal:
            self._refuse(conn, incoming.refusal)
            return
        self._forget(conn)
        if not self._is_refused(conn, incoming):
            self._hand_on(conn, incoming)

    def _has_next(self, conn: Any) -> bool:
        """Whether the client's next request is all there, within moments, and this thread's.

        For a client that sends one after another, this spares the event loop's part in it. All
        that is not so simple is the event loop's.
        """
        may_stay = self.alive and self._given <= self.cfg.threads - SPARE_THREADS
        if self._is_ssl or not may_stay or conn.parser.unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if conn.sock.unsent or not poll.poll(STAY * 1000) or self.is_full():
            return False
        try:
            data = conn.sock.recv(CHUNK)
        except OSError:
            return False
        incoming = Incoming(0, self.max_body)
        incoming.data += data
        is_whole = incoming.is_complete() and not incoming.refusal
        conn.parser.unreader.unread(incoming.request() if is_whole else data)
        return is_whole

    def _is_refused(self, conn: Any, incoming: Incoming) -> bool:
        """Whether the request has its answer now: no worker is idle."""
        is_kept = self.cfg.keepalive and len(self.keepalived_conns) < self.max_keepalived
        may_stay = self.alive and is_kept
        # only for what the application answers, gunicorn writes an access log or counts
        is_told = self.log.access_log_enabled or self.cfg.statsd_host
        parts = None if is_told else incoming.parts
        refusal = self.refusal(*parts) if parts and may_stay else None
        if not refusal:
            return False
        answer, closes = refusal
        try:
            conn.sock.sendall(answer)
        except OSError:
            self._close(conn)
            return True
        if closes:
            self._sending.finish(conn, partial(self._parting.begin, conn, LINGER, LINGER_MAX))
        else:
            self._sending.finish(conn, partial(self._keep, conn))
        return True

    def _keep(self, conn: Any) -> None:
        """Wait for a client's next request, if there is to be one."""
        if not self.alive:
            self._parting.begin(conn, LINGER, LINGER_MAX)
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        goes_on = partial(self.on_client_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, goes_on)

    def _hand_on(self, conn: Any, incoming: Incoming) -> None:
        """Give a request to a thread."""
        self._given += 1
        conn.data_ready = True
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = _Given()
        conn.parser.unreader.unread(incoming.request())
        super().enqueue_req(conn)

    def _make_room(self, newest: Any) -> None:
        """Refuse whoever waits for the longest time when all requests together are too large."""
        while sum(each.size for each in self._incoming.values()) > self.incoming_max:
            oldest = next(iter(self._incoming))
            if oldest is newest:
                return
            self._refuse(oldest, 503)

    def _refuse(self, conn: Any, status: int) -> None:
        """Answer a request that has not come, or not in full."""
        origin = self._incoming[conn].origin
        self._forget(conn)
        text = REFUSALS[status].format(max_body=self.max_body)
        try:
            conn.sock.sendall(self._answer(status, text, origin))
        except OSError:
            self._close(conn)
            return
        linger = REFUSED_LINGER if self.alive else LINGER
        part = partial(self._parting.begin, conn, linger, REFUSED_LINGER_MAX)
        self._sending.finish(conn, part)

    def _answer(self, status: int, text: str, origin: str = "") -> bytes:
        headers = {"Connection": "close", **self.access.cors(origin)}
        return response(status, Execution("-", stderr=text), headers)

    def _forget(self, conn: Any) -> None:
        if self._incoming.pop(conn).is_awaited:
            self.poller.unregister(conn.sock)

    def _drop(self, conn: Any) -> None:
        self._forget(conn)
        self._close(conn)

    def _close(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
