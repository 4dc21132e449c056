"""What the settings say of rates: how old one may be, and how far it may move."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from models.fx import Policy
from worker.settings import settings

REFUSE = "refuse"


def fx_policy() -> Policy:
    """Return the policy by which this process converts."""
    chosen = settings()
    return Policy(
        stale_after=timedelta(seconds=chosen.fx_stale_after_s),
        refuses_stale=chosen.fx_stale_policy == REFUSE,
    )


def most_jump_percent() -> Decimal:
    """Return by how many percent a rate may move between two answers."""
    return Decimal(str(settings().fx_most_jump_percent))
