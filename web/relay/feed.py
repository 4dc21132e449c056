"""The feed: what Redis publishes, given to the reactor channel by channel without a hole.

One thread holds one subscribed connection. Pub/sub promises nothing, numbers do: whenever a
subscription begins anew, a number jumps or an epoch differs, the channel is read from its stream,
and until that is done what is heard on it is left aside, for the stream has it too. So the
reactor hears what follows, or that it cannot be told. What nobody hears any more stays subscribed
for a while: a page that is loaded again finds it as it was.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, Self

import redis

from web.relay.reading import Answer, Readers
from worker.cache import CacheAway
from worker.channels import PREFIX, Channels, History, Place, channel_of

log = logging.getLogger(__name__)

Messages = Sequence[tuple[int, bytes]]

QUIET_S = 2.0
# A connection that was silent for so long is asked whether it lives; after twice as long it does
# not.
LINGER_S = 30.0
# How long a channel without clients stays subscribed.
AUDIT_S = 30.0
# How often all channels are compared with their streams, for what no rule above has foreseen.
TICK_S = 0.5
AGAIN_S = 0.2
# When to read streams again after Redis could not be asked.
BACKOFF_S = (0.05, 2.0)
# Before connecting anew: the least and the most.
CHUNK = 200
# Channels subscribed or read in one round trip.
MOST = 512
# Messages taken before they are handed on.


class Listener(Answer, Protocol):
    """The reactor, as the feed sees it: every method only puts work aside."""

    def opened(self, channel: str, place: Place) -> None:
        """The channel is subscribed to and goes on after `place`; may be said again."""

    def heard(self, channel: str, messages: Messages) -> None:
        """These follow."""

    def reset(self, channel: str, place: Place, reason: str) -> None:
        """The channel goes on after `place`; what was before cannot be told."""


@dataclass(slots=True)
class _Topic:
    """A channel that is subscribed to.

    Args:
        place: what the listener has been told up to; None before it has been told anything.
        leaves_at: when to unsubscribe, of a channel that nobody hears any more.
    """

    place: Place | None = None
    leaves_at: float | None = None


class RedisFeed:
    """Feeds a reactor from Redis: `start` it before anything is opened.

    Args:
        on_new_epoch: called in the feed's thread when a channel turns out to be numbered anew,
            which means that Redis has lost what it held.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        quiet_s: float = QUIET_S,
        linger_s: float = LINGER_S,
        audit_s: float = AUDIT_S,
        on_new_epoch: Callable[[], None] = lambda: None,
    ) -> None:
        self._channels = channels
        self._quiet_s = quiet_s
        self._linger_s = linger_s
        self._audit_s = audit_s
        self._on_new_epoch = on_new_epoch
        self._asked: deque[tuple[str, str]] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = threading.Event()
        self._topics: dict[str, _Topic] = {}
        # Subscribed, but what they hear may have a hole before it.
        self._dirty: set[str] = set()
        self._line: _Line | None = None
        self._fill_at = self._audit_at = 0.0
        self._thread = threading.Thread(target=self._run, name="relay-feed", daemon=True)
        self._readers = Readers(channels)

    def start(self, listener: Listener) -> None:
        """Begin to feed `listener`."""
        self._listener = listener
        self._readers.start(listener)
        self._thread.start()

    def stop(self) -> None:
        """End the threads and the connection."""
        self._stopping.set()
        self._ring()
        self._readers.stop()
        self._thread.join()
        os.close(self._bell)

    @property
    def is_connected(self) -> bool:
        """Whether Redis is heard now."""
        return self._line is not None

    def open(self, channel: str) -> None:
        """Subscribe; `opened` answers, as soon as Redis can be heard."""
        self._asked.append(("open", channel))
        self._ring()

    def close(self, channel: str) -> None:
        """Unsubscribe, by and by."""
        self._asked.append(("close", channel))
        self._ring()

    def read(self, channel: str, client_ref: object, since: Place) -> None:
        """Read what came after `since`; `told` answers, as soon as Redis can be asked."""
        self._readers.ask(channel, client_ref, since)

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    # Everything below runs in the feed's thread.

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = monotonic()
            try:
                with _Line(self._channels, timeout_s=self._quiet_s) as line:
                    self._dirty.clear()
                    self._subscribe(line, self._topics)
                    self._line = line
                    self._serve(line)
            except (redis.RedisError, OSError) as error:
                log.warning("Redis is not heard: %s", error)
            except Exception:
                # Whatever it is, a relay that hears nothing and says nothing would be worse.
                log.exception("the feed begins anew")
            finally:
                self._line = None
            least_s, most_s = BACKOFF_S
            failures = 0 if monotonic() - began > most_s else failures + 1
            backoff_s = min(most_s, least_s * 2 ** min(failures, 10))
            self._stopping.wait(backoff_s * random.uniform(0.5, 1))  # noqa: S311  no secret

    def _serve(self, line: _Line) -> None:
        poll = select.poll()
        poll.register(line.fd, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        self._audit_at = monotonic() + self._audit_s
        is_more = False
        while not self._stopping.is_set():
            wait_s = 0 if is_more else AGAIN_S if self._dirty else TICK_S
            if any(fd == self._bell for fd, _ in poll.poll(wait_s * 1000)):
                os.eventfd_read(self._bell)
            self._obey(line)
            is_more = self._take(line)
            self._look_round(line)
            self._fill()

    def _obey(self, line: _Line) -> None:
        opened = []
        while self._asked:
            verb, channel = self._asked.popleft()
            topic = self._topics.get(channel)
            if verb == "close":
                if topic is not None:
                    topic.leaves_at = monotonic() + self._linger_s
            elif topic is None:
                self._topics[channel] = _Topic()
                opened.append(channel)
            else:
                topic.leaves_at = None
                if topic.place is not None:
                    self._listener.opened(channel, topic.place)
        self._subscribe(line, opened)

    def _subscribe(self, line: _Line, channels: Iterable[str]) -> None:
        for several in _chunks(list(channels)):
            line.send("SUBSCRIBE", *map(channel_of, several))

    def _take(self, line: _Line) -> bool:
        """Hand on what has come; return whether there may be more."""
        heard: dict[str, list[tuple[int, bytes]]] = {}
        try:
            return self._sort(line, heard)
        finally:
            # Also when the connection breaks in the middle: it counts as told.
            for channel, messages in heard.items():
                self._listener.heard(channel, messages)

    def _sort(self, line: _Line, heard: dict[str, list[tuple[int, bytes]]]) -> bool:
        for _ in range(MOST):
            if (answer := line.take()) is None:
                return False
            if answer[0] == b"message":
                channel = answer[1].decode().removeprefix(PREFIX)
                if (seq := self._follows(channel, answer[2])) is not None:
                    heard.setdefault(channel, []).append((seq, answer[2]))
            elif answer[0] == b"subscribe":
                self._dirty.add(answer[1].decode().removeprefix(PREFIX))
        return True

    def _follows(self, channel: str, message: bytes) -> int | None:
        """Return the message's number if it is the channel's next one, and count it as told."""
        topic = self._topics.get(channel)
        if topic is None or topic.place is None or channel in self._dirty:
            return None
        try:
            place = Place.of(message)
        except ValueError:
            log.warning("channel %s: what was published has no id", channel)
            return None
        last = topic.place
        if place.epoch == last.epoch and place.seq <= last.seq:
            return None
        if place.epoch != last.epoch or place.seq != last.seq + 1:
            self._dirty.add(channel)
            return None
        topic.place = place
        return place.seq

    def _fill(self) -> None:
        """Bring the channels that may have a hole up to their heads."""
        if not self._dirty or monotonic() < self._fill_at:
            return
        for several in _chunks([name for name in self._dirty if name in self._topics]):
            try:
                found = self._channels.read({name: self._topics[name].place for name in several})
            except CacheAway:
                self._fill_at = monotonic() + AGAIN_S
                return
            for channel, history in found.items():
                self._settle(channel, history)
        self._dirty.clear()

    def _settle(self, channel: str, history: History) -> None:
        topic = self._topics[channel]
        if topic.place is None:
            self._listener.opened(channel, history.head)
        elif history.lost is not None:
            self._listener.reset(channel, history.head, history.lost)
            if history.lost == "epoch":
                self._on_new_epoch()
        elif history.messages:
            self._listener.heard(channel, history.messages)
        topic.place = history.head
        self._dirty.discard(channel)

    def _look_round(self, line: _Line) -> None:
        line.keep_alive(self._quiet_s)
        moment = monotonic()
        if moment >= self._audit_at:
            self._audit_at = moment + self._audit_s
            self._dirty.update(name for name, topic in self._topics.items() if topic.place)
        left = [
            name
            for name, topic in self._topics.items()
            if topic.leaves_at is not None and topic.leaves_at <= moment
        ]
        for several in _chunks(left):
            line.send("UNSUBSCRIBE", *map(channel_of, several))
            for channel in several:
                del self._topics[channel]
                self._dirty.discard(channel)


class _Line:
    """A connection that is subscribed, or may be."""

    def __init__(self, channels: Channels, *, timeout_s: float) -> None:
        self._connection = channels.connection(timeout_s=timeout_s)

    def __enter__(self) -> Self:
        self._connection.connect()
        self.fd: int = self._connection._sock.fileno()  # noqa: SLF001  there is no other way to it
        self._heard_at = self._pinged_at = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.disconnect()

    def send(self, *command: str) -> None:
        """Send a command; its answer comes with the messages."""
        self._connection.send_command(*command, check_health=False)

    def take(self) -> Any:
        """Return the next answer or message, or None when nothing has come."""
        if not self._connection.can_read(0):
            return None
        answer = self._connection.read_response(disable_decoding=True)
        self._heard_at = monotonic()
        return answer

    def keep_alive(self, quiet_s: float) -> None:
        """Ask for a sign of life when it is time.

        Raises:
            redis.ConnectionError: none came.
        """
        moment = monotonic()
        if moment - self._heard_at < quiet_s:
            return
        if self._pinged_at <= self._heard_at:
            self._pinged_at = moment
            self.send("PING")
        elif moment - self._pinged_at >= quiet_s:
            raise redis.ConnectionError("it does not answer")


def _chunks(names: list[str]) -> Iterable[list[str]]:
    return (names[i : i + CHUNK] for i in range(0, len(names), CHUNK))
