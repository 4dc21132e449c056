"""gunicorn's worker for the relay: sockets leave it once they are upgraded.

What gunicorn's own `gthread` does not know or does not do for us:

- a socket that was taken from it. It would count the connection as gone twice, and then think that
  it holds fewer than none;
- slow handshakes. It reads a request in a thread of its pool and waits there without an end; here
  a request waits in the poller until its head is whole, and for `HEAD_S` at most;
- lingering. Before it closes, it waits up to 2 s in its main thread for the other side; here that
  too waits in the poller;
- going away: the relay tells everybody before the process ends. Handshakes may take until gunicorn
  kills the process, so it waits for them only for a moment.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from functools import partial
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any

from gunicorn import http  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from web.relay.process import Relay

log = logging.getLogger(__name__)

HEAD_S = 10.0
LINGER_S = 2.0
# Who is in the middle of a handshake as we stop may still come in, to be told at once.
LEAVES_AFTER_S = 1.5
MAX_HEAD_BYTES = 16 << 10
RECEIVE_BYTES = 8 << 10
# Accepted at a time: then those who have something to say have their turn.
ACCEPTED_AT_ONCE = 64
FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_S = 0.5
END = b"\r\n\r\n"
PLAIN = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Knocking(TConn):  # type: ignore[misc]  # gunicorn comes untyped
    """A connection whose request is being read."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.head = bytearray()


class RelayWorker(ThreadWorker):  # type: ignore[misc]
    """`gthread`, but for what is told above."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # Until when each may take over its head, and over its goodbye; the oldest first.
        self._heads: dict[TConn, float] = {}
        self._goodbyes: dict[TConn, float] = {}
        self._accepts_from = 0.0
        self._is_stopping = threading.Event()
        self._is_over = threading.Event()

    def run(self) -> None:
        """Serve until told to stop, then have everybody come back elsewhere."""
        relay: Relay = self.wsgi.extensions["relay"]
        relay.start()
        leaving = threading.Thread(
            target=self._leave, args=[relay], name="relay-leaves", daemon=True
        )
        leaving.start()
        super().run()
        if self.nr_conns:
            log.warning("%d handshakes were cut off", self.nr_conns)
        self._is_over.set()
        self._is_stopping.set()
        leaving.join()

    def _leave(self, relay: Relay) -> None:
        self._is_stopping.wait()
        self._is_over.wait(LEAVES_AFTER_S)
        relay.leave()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001  gunicorn's own
        """Accept or not; not yet when there was just no room for one more."""
        if not enabled or time.monotonic() >= self._accepts_from:
            super().set_accept_enabled(enabled)

    def accept(self, listener: socket.socket) -> None:
        """Take who waits, and read what they want in the poller."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, address = listener.accept()
            except OSError as error:
                if error.errno in FULL:
                    log.warning("no room for another connection: %s", error.strerror)
                    self._accepts_from = time.monotonic() + PAUSE_S
                    self.set_accept_enabled(enabled=False)
                elif error.errno not in {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED}:
                    raise
                return
            self.nr_conns += 1
            conn = Knocking(self.cfg, sock, address, listener.getsockname())
            self._watch(conn, self._heads, HEAD_S, self._read_head)

    def _read_head(self, conn: Knocking, sock: socket.socket) -> None:
        data = _received(sock)
        if data is None:
            return
        conn.head += data
        end = conn.head.find(END)
        if not data:
            self._drop(conn, self._heads)
        elif end < 0 and len(conn.head) <= MAX_HEAD_BYTES:
            return
        elif end < 0:
            self._refuse(conn, "431 Request Header Fields Too Large")
        elif len(conn.head) > end + len(END):
            # Nobody may speak before the answer, and nothing here takes a body.
            self._refuse(conn, "400 Bad Request")
        else:
            self._unwatch(conn, self._heads)
            # All that there is: gunicorn asks the socket for nothing more.
            conn.parser = http.get_parser(self.cfg, iter([bytes(conn.head)]), conn.client)
            conn.initialized = True
            self.enqueue_req(conn)

    def _refuse(self, conn: Knocking, status: str) -> None:
        self._unwatch(conn, self._heads)
        try:
            conn.sock.send(PLAIN.format(status).encode())
        except OSError:
            self._forget(conn)
        else:
            self._linger(conn)

    def finish_request(self, conn: TConn, _done: Future[object]) -> None:
        """Let go of a connection that was answered or taken from us."""
        if conn.sock.fileno() < 0:
            self.nr_conns -= 1
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Wait for the other side to close: what it has not read yet would be lost to it."""
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._forget(conn)
        else:
            self._watch(conn, self._goodbyes, LINGER_S, self._read_goodbye)

    def _read_goodbye(self, conn: TConn, sock: socket.socket) -> None:
        if _received(sock) == b"":
            self._drop(conn, self._goodbyes)

    def murder_pending(self) -> None:
        """Let go of those who took too long; of those who have not even asked, once we stop."""
        if not self.alive:
            self._is_stopping.set()
        moment = time.monotonic()
        for waiting in (self._heads, self._goodbyes):
            is_over = waiting is self._heads and not self.alive
            for conn, until in list(waiting.items()):
                if until > moment and not is_over:
                    break
                self._drop(conn, waiting)

    def _watch(
        self,
        conn: TConn,
        waiting: dict[TConn, float],
        for_s: float,
        call: Callable[[Any, socket.socket], None],
    ) -> None:
        waiting[conn] = time.monotonic() + for_s
        self.poller.register(conn.sock, EVENT_READ, partial(call, conn))

    def _unwatch(self, conn: TConn, waiting: dict[TConn, float]) -> None:
        del waiting[conn]
        self.poller.unregister(conn.sock)

    def _drop(self, conn: TConn, waiting: dict[TConn, float]) -> None:
        self._unwatch(conn, waiting)
        self._forget(conn)

    def _forget(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


def _received(sock: socket.socket) -> bytes | None:
    """Return what came: nothing at the end, or when it broke; None if nothing came yet."""
    try:
        return sock.recv(RECEIVE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
