"""Who is online: what each relay holds of whom, with an expiry, and one event a change.

A relay holds its users for a while and goes on holding them. Whoever opens a second tab, on
whatever relay, is online already; `user.online` is told when the first relay holds a user. Letting
go only shortens the while, so that a page that is loaded again, or a relay that leaves, takes
nobody offline. What expires is reaped by any relay for all: the last relay's hold on a user that
is reaped tells `user.offline`, in the same script, once. Keys:

- `presence:expiry`, a sorted set of `<channel>|<user>|<relay>` by when they expire, by Redis's
  clock;
- `presence:<channel>`, a hash: user to since when, and the relays that hold the user.

Two losses must not be told as people coming and going:

- Redis was flushed, or is an older state. The epoch of the numbering tells; what is held is
  restored without an event. Clients were told to fetch anew and nobody went.
- Redis, or every relay, was away, so that all has expired. Nobody has reaped for a while then, and
  nobody does for another one, in which the relays that live hold theirs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.clock import now
from worker.channels import NUMBERING, Channels, Script, channels, fresh_epoch

EXPIRY_S = 45.0
# Three refreshes may fail before a user counts as gone.
REFRESH_S = 15.0
REAP_S = 5.0
PATIENCE_S = 15.0
# Three reapings of all relays have not been: no relay lives, or Redis did not.
GRACE_S = 10.0
# A page is loaded again in less.
CHUNK = 200
# Users held, let go or reaped by one script: it holds up Redis for about a millisecond.
MOST_CHUNKS = 100
# Reaped in one go; what is left is reaped a few seconds later.

_COMMON = (
    NUMBERING
    + """
local EXPIRY = 'presence:expiry'
local function clock()
  local t = call('TIME')
  return t[1] + t[2] / 1000000
end
local function tell(epoch, fresh, channel, kind, at, user)
  local body = '"type":"' .. kind .. '","company_id":"' .. channel .. '","timestamp":"' .. at
    .. '","user_id":"' .. user .. '","data":{"user_id":"' .. user .. '"}}'
  say(epoch, fresh, channel, {body}, 1)
end
"""
)

# ARGV: a fresh epoch, the epoch that the relay knows ('' for users that it did not hold before),
# the relay, for how long, the time to tell; then channel, user and since when, of each.
_HOLD = Script(
    _COMMON
    + """
local epoch, relay, at = call('HGET', HEADS, 'epoch') or begin(ARGV[1]), ARGV[3], ARGV[5]
local is_told = ARGV[2] == '' or ARGV[2] == epoch
local expires = clock() + ARGV[4]
for i = 6, #ARGV, 3 do
  local channel, user = ARGV[i], ARGV[i + 1]
  local key = 'presence:' .. channel
  call('ZADD', EXPIRY, expires, channel .. '|' .. user .. '|' .. relay)
  local held = call('HGET', key, user)
  if not held then
    call('HSET', key, user, ARGV[i + 2] .. ' ' .. relay)
    if is_told then tell(epoch, ARGV[1], channel, 'user.online', at, user) end
  elseif not string.find(held, ' ' .. relay, 1, true) then
    call('HSET', key, user, held .. ' ' .. relay)
  end
end
return epoch
"""
)

# ARGV: the relay, for how long still; then channel and user of each.
_LET_GO = Script(
    _COMMON
    + """
local expires = clock() + ARGV[2]
for i = 3, #ARGV, 2 do
  call('ZADD', EXPIRY, 'XX', 'LT', expires, ARGV[i] .. '|' .. ARGV[i + 1] .. '|' .. ARGV[1])
end
"""
)

# ARGV: a fresh epoch, after how long without a reaping to hold off, for how long, the time to tell,
# how many at most. Answers the epoch and how many expired.
_REAP = Script(
    _COMMON
    + """
local epoch, moment = call('HGET', HEADS, 'epoch') or begin(ARGV[1]), clock()
local last, calm = call('GET', 'presence:reaped'), call('GET', 'presence:calm')
call('SET', 'presence:reaped', string.format('%.3f', moment))
if last and moment - last > tonumber(ARGV[2]) then
  calm = string.format('%.3f', moment + ARGV[3])
  call('SET', 'presence:calm', calm)
end
if calm and moment < tonumber(calm) then return {epoch, 0} end
local expired = call('ZRANGEBYSCORE', EXPIRY, '-inf', moment, 'LIMIT', 0, ARGV[5])
for _, member in ipairs(expired) do
  call('ZREM', EXPIRY, member)
  local channel, user, relay = string.match(member, '^(.-)|(.-)|(.*)$')
  local key = 'presence:' .. channel
  local held = call('HGET', key, user)
  if held then
    local from, to = string.find(held, ' ' .. relay, 1, true)
    if from then held = string.sub(held, 1, from - 1) .. string.sub(held, to + 1) end
    if string.find(held, ' ', 1, true) then
      call('HSET', key, user, held)
    else
      call('HDEL', key, user)
      tell(epoch, ARGV[1], channel, 'user.offline', ARGV[4], user)
    end
  end
end
return {epoch, #expired}
"""
)

# ARGV: a channel. Answers user and since when, of those that a relay still holds; while reaping is
# held off, of all.
_PRESENT = Script(
    _COMMON
    + """
local moment, found = clock(), {}
local calm = tonumber(call('GET', 'presence:calm') or 0) > moment
local held = call('HGETALL', 'presence:' .. ARGV[1])
for i = 1, #held, 2 do
  local is_here = calm
  local since, relays = string.match(held[i + 1], '^(%S+)(.*)$')
  for relay in string.gmatch(relays, '%S+') do
    local expires = call('ZSCORE', EXPIRY, ARGV[1] .. '|' .. held[i] .. '|' .. relay)
    is_here = is_here or (expires and tonumber(expires) > moment)
  end
  if is_here then
    found[#found + 1] = held[i]
    found[#found + 1] = since
  end
end
return found
"""
)


@dataclass(frozen=True, slots=True)
class Present:
    """A user who is online, and since when."""

    user_id: UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """A user on a channel, whom a relay has had since then, as text."""

    channel: str
    user_id: UUID
    since: str


class Presence:
    """What one relay holds. Every method may raise CacheAway; all may be called again.

    Args:
        relay: a name that no other relay has or had, without spaces or bars.
        patience_s: after how long without a reaping nobody reaps until what was held can have
            been held again.
    """

    def __init__(
        self,
        channels: Channels,
        relay: str,
        *,
        expiry_s: float = EXPIRY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._channels = channels
        self._relay = relay
        self._expiry_s = expiry_s
        self._patience_s = patience_s

    def hold(self, held: Sequence[Held], *, known_epoch: str = "") -> str:
        """Hold these users for a while; return the epoch in which that was, or had begun.

        Args:
            held: one at least.
            known_epoch: of users that were held before: the epoch then. If it is still that one,
                who is missing was told to be offline, and is told to be online.
        """
        moment = now().isoformat()
        epochs: list[str] = []
        for several in _chunks(held):
            arguments = [known_epoch, self._relay, self._expiry_s, moment]
            for one in several:
                arguments += [one.channel, str(one.user_id), one.since]
            epochs.append(self._run(_HOLD, fresh_epoch(), *arguments).decode())
        # The first: what was lost after it is then still known to be lost.
        return epochs[0]

    def let_go(self, held: Sequence[Held], *, grace_s: float = GRACE_S) -> None:
        """Hold these users for no longer than `grace_s`."""
        for several in _chunks(held):
            names = [name for one in several for name in (one.channel, str(one.user_id))]
            self._run(_LET_GO, self._relay, grace_s, *names)

    def reap(self) -> str:
        """Tell who is gone, of whatever relay and channel; return the epoch."""
        for _ in range(MOST_CHUNKS):
            epoch, count = self._run(
                _REAP,
                fresh_epoch(),
                self._patience_s,
                self._expiry_s,
                now().isoformat(),
                CHUNK,
            )
            if count < CHUNK:
                break
        name: str = epoch.decode()
        return name

    def _run(self, script: Script, *arguments: Any) -> Any:
        return self._channels.do(lambda client: script.run(client, *arguments))


def present(channel: UUID | str, *, at: Channels | None = None) -> list[Present]:
    """Return who is online on a company's, or tenant's, channel; first who has been for longest.

    Args:
        at: of another Redis than the process's.

    Raises:
        CacheAway: nobody can say.
    """
    found = (at or channels()).do(lambda client: _PRESENT.run(client, str(channel)))
    pairs = zip(found[::2], found[1::2], strict=True)
    users = [
        Present(UUID(user.decode()), datetime.fromisoformat(since.decode()))
        for user, since in pairs
    ]
    return sorted(users, key=lambda user: (user.since, user.user_id))


def _chunks(held: Sequence[Held]) -> Iterable[Sequence[Held]]:
    return (held[i : i + CHUNK] for i in range(0, len(held), CHUNK))
