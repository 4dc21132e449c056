"""Events that never came: fetched from the provider, and put through the same intake.

A webhook that is lost for longer than the provider tries (Stripe: three days) would be lost for
good. The intake's unique key lets each event in once, whichever way it comes.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from models import cursors
from models.alerts import Severity
from models.clock import now
from models.webhooks import FETCHED, HANDLED
from worker import telemetry
from worker.alerts import alert, resolve
from worker.app import periodic
from worker.database import in_transaction
from worker.gateways import UnknownProvider, gateway_for
from worker.gateways.base import GatewayError, MissedEvent
from worker.intake import Arrival, NotStored, Outcome, intake
from worker.settings import settings

log = logging.getLogger(__name__)

NAME = "missed_events"
# Before where the last look ended: for clocks that differ and for lists that lag.
OVERLAP = timedelta(hours=2)
# As long as providers keep events.
REACH = timedelta(days=30)
# What is not taken after so long has not merely been on its way.
LATE = timedelta(minutes=10)


@periodic("webhooks.fetch_missed")
def fetch_missed() -> None:
    """Fetch what no endpoint has taken. Safe in any number of copies: one takes each look."""
    for provider in HANDLED:
        try:
            fetch(provider)
        except UnknownProvider:
            continue
        except (GatewayError, NotStored) as error:
            # The cursor stays where it was, so the next look begins there.
            log.warning("missed events of %s: %s", provider, error)


def fetch(provider: str) -> None:
    """Take in what a provider could not deliver, if it is time to look.

    Raises:
        GatewayError: the provider could not be asked, or not to the end.
        NotStored: the database could not keep what was found.
    """
    gateway, moment = gateway_for(provider), now()
    is_due, position = in_transaction(_take_look, None, provider, moment)
    if not is_due:
        return
    since = max(position - OVERLAP, moment - REACH) if position else moment - REACH
    new = late = 0
    for page in gateway.missed_events(since=since):
        stored = _store(provider, page, moment)
        new += len(stored)
        late += sum(event.created_at < moment - LATE for event in stored)
    if new:
        log.info("%d events of %s had not come yet and were fetched", new, provider)
        telemetry.count("webhooks.fetched", new, provider=provider)
    in_transaction(_end_look, None, provider, moment, late)


def _take_look(session: Session, provider: str, moment: datetime) -> tuple[bool, datetime | None]:
    """Return whether it is time to look, and where the last look ended."""
    # Beat's own rings are not to the second.
    looked_before = moment - timedelta(seconds=settings().missed_events_every_s * 0.9)
    cursor = cursors.take_due(session, provider, NAME, moment=moment, looked_before=looked_before)
    if cursor is None:
        return False, None
    return True, datetime.fromisoformat(cursor.position) if cursor.position else None


def _store(provider: str, page: list[MissedEvent], moment: datetime) -> list[MissedEvent]:
    """Store a page of events; return those that had not come before."""
    if not page:
        return []
    arrivals = [
        Arrival(
            provider=provider,
            event=each.event,
            headers={FETCHED: moment.isoformat()},
            request_id=telemetry.current().get("request_id"),
        )
        for each in page
    ]
    stored = []
    for each, outcome in zip(page, intake().store_all(arrivals), strict=True):
        if isinstance(outcome, NotStored):
            raise outcome
        if isinstance(outcome, Exception):
            log.error("event %s cannot be stored: %s", each.event.id, outcome)
        elif outcome is Outcome.STORED:
            stored.append(each)
    return stored


def _end_look(session: Session, provider: str, moment: datetime, late: int) -> None:
    cursors.move(session, provider, NAME, position=moment.isoformat())
    kind = "webhooks_missed"
    if not late:
        resolve(session, f"{kind}:{provider}", why="Every event came by itself again.")
        return
    alert(
        session,
        kind,
        severity=Severity.WARNING,
        open_key=f"{kind}:{provider}",
        message=f"{late} events of {provider} had not come and were fetched: see whether the "
        "provider can reach the webhook endpoint.",
    )
