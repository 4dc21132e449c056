"""Events for analytics: taken in, and how the collector stands for operators."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

from flask import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic import model_validator as checked
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import analytics_producers
from models.analytics_events import EventType, NewEvent, Source, event_id
from models.clock import now
from models.modules import CompanyModule
from models.tenants import Company, Permission, people_among
from web.auth import allowed, caller
from web.bodies import write
from web.problems import FieldError, Problem, unavailable
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, Currency, Moment, exact
from worker.cache import CacheAway
from worker.collecting import accepting, stream
from worker.database import in_transaction, is_away, transaction
from worker.settings import settings

routes = Routes("analytics_events", __name__, url_prefix="/api/v1/analytics")

MOST_EVENTS = 1000
MOST_METADATA = 4096
FIRST_TIME = datetime(2000, 1, 1, tzinfo=UTC)
# Callers' clocks may be ahead by so much.
MOST_AHEAD = timedelta(minutes=5)
RETRY_AFTER_S = 5


def _bounded(digits: int, places: int) -> Any:
    """Return a check that a number fits a column exactly."""

    def check(value: Decimal) -> Decimal:
        if abs(value) >= 10 ** (digits - places) or value != round(value, places):
            raise ValueError(
                f"must have at most {digits - places} digits and {places} decimal places"
            )
        return value

    return AfterValidator(check)


def _number(digits: int, places: int) -> WithJsonSchema:
    most = 10 ** (digits - places) - 1
    pattern = rf"^-?[0-9]{{1,{digits - places}}}(\.[0-9]{{1,{places}}})?$"
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -most, "maximum": most},
                {"type": "string", "pattern": pattern},
            ],
            "description": "As a number or a string; exact.",
        }
    )


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(write(value)) > MOST_METADATA:
        raise ValueError(f"must be at most {MOST_METADATA} bytes of JSON")
    return value


def _timely(value: datetime) -> datetime:
    if value > now() + MOST_AHEAD:
        raise ValueError("is more than 5 minutes ahead")
    if value < FIRST_TIME:
        raise ValueError("is before the year 2000")
    return value


class NewAnalyticsEvent(Input):
    """One thing that happened. What is only told here never counts as money in a metric."""

    id: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The caller's own: the same one is stored once, however often it is sent.",
    )
    event_type: EventType
    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$",
        description="What happened, such as `report.opened`.",
    )
    timestamp: Annotated[Moment, AfterValidator(_timely)] | None = Field(
        None, description="When; now if left out. From 2000 on, at most 5 minutes ahead."
    )
    user_id: UUID | None = Field(None, description="Of the company's people.")
    module_id: UUID | None = Field(None, description="A module that the company has or had.")
    amount: Annotated[Decimal, BeforeValidator(exact), _bounded(15, 2), _number(15, 2)] | None = (
        Field(None, description="In the currency's main unit; with a currency.")
    )
    currency: Currency | None = None
    quantity: Annotated[Decimal, BeforeValidator(exact), _bounded(15, 4), _number(15, 4)] | None = (
        None
    )
    dimension: str = Field("", max_length=100, pattern=ONE_LINE, description="What to group by.")
    metadata: (
        Annotated[dict[Annotated[str, Field(max_length=100)], Any], AfterValidator(_small)] | None
    ) = Field(None, description="Anything else, up to 4,096 bytes.")

    @checked(mode="after")
    def _is_money_whole(self) -> Self:
        if (self.amount is None) != (self.currency is None):
            raise ValueError("amount and currency go together")
        return self


def _wrapped(sent: Any) -> Any:
    """Take an event by itself for a list of one."""
    return {"events": [sent]} if isinstance(sent, dict) and "event_type" in sent else sent


class NewAnalyticsEvents(Input):
    """One event by itself, or a list of them under `events`."""

    events: list[NewAnalyticsEvent] = Field(min_length=1, max_length=MOST_EVENTS)

    @checked(mode="before")
    @classmethod
    def _one_or_many(cls, sent: Any) -> Any:
        return _wrapped(sent)


class AcceptedAnswer(BaseModel):
    """Events that will be stored, by the ids that they have here, in the order they were sent."""

    accepted: int
    ids: list[UUID]


class CollectorAnswer(BaseModel):
    """What waits to be stored, and what became of all that was accepted so far.

    `lost` is what Redis lost of it; `outstanding` is on its way; `withdrawn` are numbers whose
    senders were told that nothing was accepted. Of Redis all is null while it is away.
    """

    is_enabled: bool
    waiting: int | None = Field(description="Events in the stream.")
    waiting_bytes: int | None
    entries: int | None
    held: int | None = Field(description="Entries in workers' hands.")
    lag_s: float | None = Field(description="Age of the oldest entry; 0 if none waits.")
    refused_entries: int | None = Field(description="Kept in the stream analytics:refused.")
    accepted: int
    stored: int
    refused: int
    withdrawn: int
    lost: int
    outstanding: int
    producers: int


@routes.post("/events", responses={202: AcceptedAnswer})
@allowed(Permission.ANALYTICS_WRITE)
def collect_events(body: NewAnalyticsEvents) -> Response:
    """Take one event, or up to 1,000; all of them or none. 202 says that they will be stored.

    429 says that too many wait already, 503 that neither Redis nor the database can be reached:
    nothing was taken, and an event that has an `id` may be sent again safely.
    """
    if not settings().analytics_enabled:
        raise Problem("not-found", "Analytics is switched off here (ANALYTICS_ENABLED).")
    company_id = caller().company_id
    _check_references(company_id, body.events)
    events = [_event(company_id, each) for each in body.events]
    try:
        accepting.producer().accept(events)
    except accepting.Full as full:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        raise Problem(
            "too-many-requests", f"{full}; send these again later.", headers=headers
        ) from None
    except SQLAlchemyError as error:
        if not is_away(error):
            raise
        raise unavailable("Neither Redis nor the database can be reached.") from error
    return respond({"accepted": len(events), "ids": [each.id for each in events]}, 202)


@routes.get("/collector", responses={200: CollectorAnswer})
@allowed(Permission.OPERATIONS)
def read_collector() -> Response:
    """Return how much waits to be stored, for how long, and what was lost, over all tenants."""
    with transaction() as session:
        count = analytics_producers.count(session)
    waits = _waiting()
    return respond(
        {
            "is_enabled": settings().analytics_enabled,
            "waiting": waits and waits.events,
            "waiting_bytes": waits and waits.bytes,
            "entries": waits and waits.entries,
            "held": waits and waits.held,
            "lag_s": waits and (waits.oldest_s or 0.0),
            "refused_entries": waits and waits.refused,
            "accepted": count.accepted,
            "stored": count.stored,
            "refused": count.refused,
            "withdrawn": count.withdrawn,
            "lost": count.lost,
            "outstanding": count.outstanding,
            "producers": count.producers,
        }
    )


def _waiting() -> stream.Standing | None:
    try:
        return stream.stream().standing()
    except CacheAway:
        return None


def _event(company_id: UUID, sent: NewAnalyticsEvent) -> NewEvent:
    return NewEvent(
        id=event_id(company_id, "api", sent.id) if sent.id else event_id(company_id),
        company_id=company_id,
        event_type=sent.event_type,
        name=sent.name,
        timestamp=sent.timestamp or now(),
        source=Source.API,
        user_id=sent.user_id,
        module_id=sent.module_id,
        amount=sent.amount,
        currency=sent.currency,
        quantity=sent.quantity,
        dimension=sent.dimension,
        metadata=write(sent.metadata).decode() if sent.metadata is not None else None,
    )


def _check_references(company_id: UUID, events: Sequence[NewAnalyticsEvent]) -> None:
    """Refuse events that name what is not the company's; who names nothing needs no database."""
    modules = {each.module_id for each in events} - {None}
    users = {each.user_id for each in events} - {None}
    if not modules and not users:
        return
    known = in_transaction(_known, company_id, company_id, modules, users)
    errors = [
        FieldError(f"events.{place}.{name}", "is none of the company's")
        for place, each in enumerate(events)
        for name in ("module_id", "user_id")
        if (found := getattr(each, name)) is not None and found not in known
    ]
    if errors:
        raise Problem("invalid", f"{errors[0].field} {errors[0].detail}", errors=errors)


def _known(
    session: Session, company_id: UUID, modules: set[UUID | None], users: set[UUID | None]
) -> set[UUID | None]:
    found: set[UUID | None] = set()
    if modules:
        query = select(CompanyModule.module_id).where(CompanyModule.module_id.in_(modules))
        found.update(session.scalars(query))
    if users:
        found.update(people_among(session, session.get_one(Company, company_id), users))
    return found
