"""When a message to a tenant's own system is sent again, and when its endpoint is given up.

The steps are those that Standard Webhooks gives as an example: over a day in all, so that a system
that was down for a night misses nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

# After the first failure, the second, ...; then the delivery has failed.
STEPS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
ATTEMPTS = len(STEPS_S) + 1
# Later by up to a tenth, so that what failed together does not come back together.
SPREAD = 0.1
# What an endpoint may ask for by Retry-After at most.
LONGEST_ASKED_S = 36_000
# An endpoint that has done nothing but fail for so long, and so often, is disabled. One failure
# long ago is no proof: nothing may have been sent since.
GIVEN_UP_AFTER = timedelta(days=5)
FEWEST_FAILURES = 10


def next_attempt_at(
    tries: int, *, last: datetime, spread: float, asked_s: float | None = None
) -> datetime | None:
    """Return when to send again, in UTC, or None when the steps are spent.

    Args:
        tries: failures so far; 1 after the first.
        last: when the last one ended.
        spread: at random, from 0 to 1.
        asked_s: the seconds that the endpoint asked for by Retry-After; heeded where it is longer
            than the step, within bounds.
    """
    if tries > len(STEPS_S):
        return None
    wait_s = STEPS_S[tries - 1] * (1 + SPREAD * spread)
    if asked_s is not None:
        wait_s = max(wait_s, min(asked_s, LONGEST_ASKED_S))
    return last + timedelta(seconds=wait_s)


def is_given_up(*, failing_since: datetime, failures: int, moment: datetime) -> bool:
    """Whether an endpoint that has only failed since then is to be disabled."""
    return failures >= FEWEST_FAILURES and moment - failing_since >= GIVEN_UP_AFTER
