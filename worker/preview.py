"""What a task would do: its transaction is run as it is, watched, and rolled back.

A task that calls a provider is run up to its call: what its claim changes is seen, and the call is
named and not made. Nothing is sent, counted or kept; numbers that a real run would draw, such as
ids, are others each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, UOWTransaction

from models import outbox
from models.base import COMPANY, Base, FencedSession
from models.locks import IN_GROUP
from models.money import Money
from models.outbox import Owed
from worker import dry_run
from worker.app import Later, acts, told
from worker.database import PUBLISH, engine, is_conflict
from worker.settings import settings
from worker.telemetry.redaction import scrub

# Of one task; what it does to more rows is told by their number.
MOST_CHANGES = 50
DULL = frozenset({"created_at", "updated_at", "version"})
# Theirs is for nobody's eyes, whatever it looks like.
HIDDEN = frozenset(
    {"payload", "headers", "answer", "password_hash", "token", "secret", "previous_secret"}
)
BUSY = "what it needs is in other hands just now"


@dataclass
class Change:
    """One row that is written: of each column what it was and what it would be."""

    table: str
    id: UUID | None  # None for a statement that writes any number of rows
    how: str  # insert, update, delete
    columns: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class Foreseen:
    """What a task would do."""

    changes: list[Change] = field(default_factory=list)
    owes: list[dict[str, Any]] = field(default_factory=list)
    announces: list[dict[str, Any]] = field(default_factory=list)
    ends: list[UUID] = field(default_factory=list)
    # The call that a provider would get after the claim.
    call: dict[str, Any] | None = None
    # Why it would fail again, or would be put off.
    error: str | None = None
    waits: str | None = None
    # Whose rows it would write.
    companies: set[UUID] = field(default_factory=set)

    def shown(self) -> dict[str, Any]:
        """Return it as plain data with nothing secret in it."""
        more = max(0, len(self.changes) - MOST_CHANGES)
        body = asdict(self) | {"changes": [asdict(each) for each in self.changes[:MOST_CHANGES]]}
        del body["companies"]
        scrubbed: dict[str, Any] = scrub(body | {"more_changes": more})
        return scrubbed


class _Watch:
    """Keeps what a session writes."""

    def __init__(self, session: Session) -> None:
        self.seen: dict[tuple[str, UUID], Change] = {}
        self.in_bulk: list[Change] = []
        self.rows: dict[tuple[str, UUID], Base] = {}
        event.listen(session, "after_flush", self._keep_rows)
        event.listen(session, "do_orm_execute", self._keep_statement)

    def _keep_rows(self, session: Session, _flush: UOWTransaction) -> None:
        for how, rows in (
            ("insert", session.new),
            ("update", session.dirty),
            ("delete", session.deleted),
        ):
            for row in rows:
                if isinstance(row, Base):
                    self._keep(row, how)

    def _keep(self, row: Base, how: str) -> None:
        key = (row.__tablename__, row.id)
        change = self.seen.get(key)
        columns = _columns_of(row, how)
        if change is None:
            if columns or how == "delete":
                self.seen[key] = Change(row.__tablename__, row.id, how, columns)
                self.rows[key] = row
            return
        for name, (was, becomes) in columns.items():
            change.columns[name] = [change.columns.get(name, [was])[0], becomes]

    def _keep_statement(self, state: ORMExecuteState) -> None:
        if state.is_update or state.is_delete:
            table = getattr(state.bind_mapper, "local_table", None)
            how = "update" if state.is_update else "delete"
            self.in_bulk.append(Change(str(getattr(table, "name", "")), None, how))


def _columns_of(row: Base, how: str) -> dict[str, list[Any]]:
    state = inspect(row)
    mapper: Mapper[Any] = state.mapper
    columns: dict[str, list[Any]] = {}
    for column in mapper.column_attrs:
        name = column.columns[0].name
        history = state.attrs[column.key].history
        if name in DULL or not (history.added or how == "insert"):
            continue
        was = history.deleted[0] if history.deleted else None
        becomes = history.added[0] if history.added else state.dict.get(column.key)
        if how != "insert" or becomes is not None:
            both = [_plain(was), _plain(becomes)]
            columns[name] = ["[hidden]", "[hidden]"] if name in HIDDEN else both
    return columns


def foresee(prepare: Callable[[Session], UUID | None]) -> Foreseen:
    """Return what `prepare` and the task of the debt that it names would do."""
    foreseen = Foreseen()
    info = {COMPANY: None, "resend_after_s": settings().outbox_resend_after_s}
    with (
        dry_run.only_trying(),
        FencedSession(engine(), expire_on_commit=False, info=info) as session,
    ):
        # Nobody is kept waiting, and we wait for nobody.
        session.info[IN_GROUP] = True
        watch = _Watch(session)
        try:
            foreseen.call = _run(session, prepare)
        except Later as later:
            foreseen.waits = str(later)
        except SQLAlchemyError as error:
            foreseen.error = BUSY if is_conflict(error) else told(error)
        except Exception as error:  # noqa: BLE001  that it fails is what there is to see
            foreseen.error = told(error)
        finally:
            _gather(foreseen, session, watch)
            if (company_id := session.info.get(COMPANY)) is not None:
                foreseen.companies.add(company_id)
            session.rollback()
    return foreseen


def _run(session: Session, prepare: Callable[[Session], UUID | None]) -> dict[str, Any] | None:
    wanted = prepare(session)
    session.flush()
    owed = session.get(Owed, wanted) if wanted else None
    act = acts().get(owed.task) if owed else None
    if owed is None or act is None:
        return None
    taken = act(session, owed.id)
    session.flush()
    return None if taken is None else _call_of(owed.task, taken[1])


def _call_of(task: str, claimed: Any) -> dict[str, Any]:
    """Return what can be told of a call by what was claimed for it."""
    call: dict[str, Any] = {"task": task}
    for part in (claimed, getattr(claimed, "claim", None)):
        for name in ("provider", "payment_method"):
            if (provider := getattr(part, name, None)) is not None:
                call.setdefault("provider", str(provider))
        request = getattr(part, "request", None)
        key = getattr(request, "key", None)
        if key is not None:
            call |= {"asks_for": type(request).__name__, "idempotency_key": key}
            money = getattr(request, "money", None)
            call["money"] = str(money) if isinstance(money, Money) else None
    return call


def _gather(foreseen: Foreseen, session: Session, watch: _Watch) -> None:
    ended = set(outbox.ended_in(session))
    for (table, _), change in watch.seen.items():
        row = watch.rows[table, change.id] if change.id else None
        company_id = getattr(row, "company_id", None)
        if company_id is not None:
            foreseen.companies.add(company_id)
        if isinstance(row, Owed) and change.how == "insert":
            # What is owed only to be worked off in the same breath is nothing that changes.
            if row.id not in ended:
                _gather_owed(foreseen, row)
            ended.discard(row.id)
        else:
            foreseen.changes.append(change)
    foreseen.changes += watch.in_bulk
    foreseen.ends = sorted(ended)


def _gather_owed(foreseen: Foreseen, row: Owed) -> None:
    if row.task == PUBLISH:
        foreseen.announces += [
            {"type": each["type"], "data": each["data"]} for each in row.arguments["events"]
        ]
        return
    due_at = _plain(row.due_at) if row.sent_at is None else None
    arguments = {name: value for name, value in row.arguments.items() if name != "reply"}
    foreseen.owes.append({"task": row.task, "arguments": arguments, "due_at": due_at})


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | dict | list):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
