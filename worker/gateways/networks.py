"""What the card networks say with a decline, whichever provider passes it on. Data."""

from __future__ import annotations

from worker.gateways.base import Advice

HOUR_S = 3600
DAY_S = 24 * HOUR_S

# Mastercard's merchant advice codes. 21 also cancels the recurring agreement.
NETWORK_ADVICE = {
    "01": Advice.ASK,
    "02": Advice.RETRY,
    "03": Advice.STOP,
    "04": Advice.STOP_AND_REVIEW,
    "21": Advice.STOP,
    "22": Advice.STOP_AND_REVIEW,
    "24": Advice.RETRY,
    "25": Advice.RETRY,
    "26": Advice.RETRY,
    "27": Advice.RETRY,
    "28": Advice.RETRY,
    "29": Advice.RETRY,
    "30": Advice.RETRY,
    "40": Advice.STOP_AND_REVIEW,
    "41": Advice.STOP_AND_REVIEW,
    "43": Advice.STOP_AND_REVIEW,
}

# The shortest wait, in seconds, that goes with an advice to try again. It overrides the ladder.
NETWORK_WAIT_S = {
    "02": 72 * HOUR_S,
    "24": HOUR_S,
    "25": DAY_S,
    "26": 2 * DAY_S,
    "27": 4 * DAY_S,
    "28": 6 * DAY_S,
    "29": 8 * DAY_S,
    "30": 10 * DAY_S,
}

# Visa fines a retry after these: the issuer will never approve. Other networks reuse the numbers
# for milder things, so the card's brand decides whether they count.
VISA_CATEGORY_1 = frozenset("04 07 12 14 15 41 43 46 57 R0 R1 R3".split())
