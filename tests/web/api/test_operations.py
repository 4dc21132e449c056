"""The invariants by one GET and by beat, alerts and who closes them, and what beat watches."""

from __future__ import annotations

import time
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text, update

from models import invariants
from models.alerts import Alert, Severity, open_alert
from models.cursors import ProviderCursor
from models.ids import new_id
from models.invariants import Part
from models.invoices import Invoice
from models.outbox import Owed, OwedStatus, enqueue
from models.tenants import Role, User
from models.timeline import Cause, note
from tasks import operations
from tests.factories import make_company, make_invoice
from tests.web.visitor import problem_of
from tests.worker.telemetry.test_metrics import Kept
from worker import alerts, judge
from worker.database import in_transaction, transaction
from worker.telemetry import metrics

INVARIANTS = "/api/v1/operations/invariants"
ALERTS = "/api/v1/operations/alerts"
PAID = "nobody has paid seven"


@pytest.fixture
def broken(ours):
    """An invoice that says that it was paid, and was not: ours, and another tenant's."""
    theirs = make_company()
    mine, other = make_invoice(ours.company_id), make_invoice(theirs.company_id)
    for customer, invoice_id in ((ours, mine), (theirs, other)):
        with transaction(company_id=customer.company_id) as session:
            invoice = session.get_one(Invoice, invoice_id)
            invoice.amount_paid = 7
            # Beat looks at what was touched.
            note(session, invoice, what="test", because=Cause(why="a test"))
    yield str(mine), str(other)
    with transaction(company_id=ours.company_id) as session:
        session.get_one(Invoice, mine).amount_paid = 0
    with transaction(company_id=theirs.company_id) as session:
        session.get_one(Invoice, other).amount_paid = 0


@pytest.fixture
def only(monkeypatch):
    """Have one sentence checked: other tests leave rows that break the real ones."""
    query = "SELECT x.id, x.amount_paid FROM invoices x WHERE TOUCHED(x.id) AND x.amount_paid = 7"
    monkeypatch.setattr(invariants, "QUERIES", {PAID: query})
    monkeypatch.setattr(invariants, "HISTORIES", ())


def test_each_sentence_is_answered(operator):
    answer = operator.get(INVARIANTS)
    assert answer.status_code == 200
    told = [each["invariant"] for each in answer.json["data"]]
    assert told == invariants.sentences()
    assert len(told) > 20


def test_what_breaks_a_sentence_is_told_without_other_tenants_rows(operator, broken, only):
    mine, other = broken
    answer = operator.get(INVARIANTS)
    assert answer.json["holds"] is False
    [verdict] = answer.json["data"]
    assert verdict["holds"] is False
    assert any(mine in each for each in verdict["violations"])
    assert verdict["hidden"] >= 1
    assert other not in answer.text


@pytest.fixture
def kept():
    """The metrics of this process, meanwhile."""
    before = list(metrics._sinks)
    kept = Kept()
    metrics.use_sinks(kept)
    yield kept
    metrics.use_sinks(*before)


def test_what_there_is_no_time_for_is_told_as_such(database, monkeypatch, caplog, kept):
    slow = {"this one is quick": "SELECT 1 WHERE FALSE", "this one is slow": "SELECT SLEEP(30)"}
    monkeypatch.setattr(invariants, "QUERIES", {**slow, "this one is never reached": "SELECT 1"})
    monkeypatch.setattr(invariants, "HISTORIES", ())
    started = time.monotonic()
    verdicts = {each.invariant: each.holds for each in judge.judge(limit_s=0.3)}
    assert time.monotonic() - started < 10
    assert verdicts["this one is quick"] is True
    assert set(verdicts.values()) == {True, None} or verdicts["this one is slow"] is False
    assert verdicts["this one is never reached"] is None
    never = {"invariant": "this one is never reached"}
    assert ("invariants.skipped", 1, never) in kept.told
    assert "no time to look whether this one is never reached" in caplog.text
    assert "this one is quick" not in caplog.text
    # The connection is as it was for who has it next.
    with transaction() as session:
        query = text("SELECT @@SESSION.max_statement_time = @@GLOBAL.max_statement_time")
        assert session.scalar(query.execution_options(spans_companies="a test")) == 1


def alert_about(key: str) -> Alert | None:
    with transaction() as session:
        return open_alert(session, key)


def test_beat_raises_one_alert_for_a_sentence_and_closes_it_when_it_holds(
    operator, ours, broken, only
):
    key = f"invariant_broken:{PAID}"
    operations.check_invariants()
    raised = alert_about(key)
    assert raised.severity is Severity.CRITICAL
    assert PAID in raised.message
    operations.check_invariants()
    assert alert_about(key).id == raised.id
    told = operator.get(f"{ALERTS}?kind=invariant_broken&is_resolved=false")
    assert str(raised.id) in [each["id"] for each in told.json["data"]]
    with transaction() as session:
        session.execute(
            update(Invoice).values(amount_paid=0).where(Invoice.amount_paid == 7),
            execution_options={"spans_companies": "a test"},
        )
    operations.check_invariants()
    assert alert_about(key) is None


def begin_anew() -> None:
    """As on the first day: nobody has gone through the book."""
    with transaction() as session:
        session.execute(delete(ProviderCursor).where(ProviderCursor.provider == "paybeat"))
        session.execute(delete(Alert).where(Alert.kind == operations.BROKEN))


@pytest.fixture
def small_parts(monkeypatch):
    """Have the book gone through one row of a table at a time, and one part a ring."""
    monkeypatch.setattr(invariants, "_TABLES", ("invoices",))
    monkeypatch.setattr(judge, "ROWS", 1)
    monkeypatch.setattr(operations, "LIMIT_S", 0.001)
    begin_anew()
    yield
    begin_anew()


def position() -> str | None:
    with transaction() as session:
        return session.scalar(
            select(ProviderCursor.position).where(ProviderCursor.provider == "paybeat")
        )


def test_the_parts_of_the_book_are_the_whole_of_it(broken):
    seen, since = set(), Part().since
    query = {PAID: "SELECT x.id FROM invoices x WHERE NEW(x.id) AND x.amount_paid = 7"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invariants, "QUERIES", query)
        patch.setattr(invariants, "HISTORIES", ())
        while since < Part().until:
            with transaction() as session:
                part = invariants.part_from(session, since, rows=3)
                found = [each for _, look in invariants.looks(part=part) for each in look(session)]
            assert len(found) <= 3
            assert part.until > since
            assert not seen & {each.detail for each in found}
            seen |= {each.detail for each in found}
            since = part.until
    assert {broken[0], broken[1]} <= seen


def test_a_book_that_is_long_is_gone_through_over_several_rings(ours, only, small_parts):
    for _ in range(3):
        make_invoice(ours.company_id)
    operations.check_invariants()
    first = position()
    assert first is not None
    operations.check_invariants()
    assert position() != first
    with transaction() as session:
        # Far on, as after many rings: the end of the book ends it.
        row = session.scalars(select(ProviderCursor).where(ProviderCursor.name == "invariants"))
        row.one().position = "ff" * 15 + "00"
    operations.check_invariants()
    assert position() is None
    operations.check_invariants()
    assert position() is None  # the next is due in six hours


def test_an_alert_is_closed_when_the_whole_book_was_gone_through_without_a_doubt(database):
    key, whole = f"invariant_broken:{PAID}", Part()
    half = Part(until=b"\x80" + bytes(15))

    def look(place, part, *, holds):
        verdicts = [judge.Verdict(PAID, holds=holds)]
        return in_transaction(operations._go_on, None, place, part, verdicts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invariants, "QUERIES", {PAID: ""})
        in_transaction(operations._tell_broken, None, PAID)
        begin = operations._Place(whole.since)
        for holds in (False, None):
            assert look(look(begin, half, holds=holds), whole, holds=True) is None
            assert alert_about(key) is not None
        assert look(look(begin, half, holds=True), whole, holds=True) is None
    assert alert_about(key) is None


def test_the_invariants_are_run_by_one_at_a_time(database, monkeypatch):
    runs = []
    monkeypatch.setattr(operations, "judge", lambda **_: runs.append(1) or [])
    with judge.alone("invariants") as is_alone:
        assert is_alone
        operations.check_invariants()
        assert runs == []
    operations.check_invariants()
    assert runs


def raised(company_id: UUID | None) -> str:
    def raise_it(session):
        return alerts.alert(
            session,
            "a_test",
            severity=Severity.WARNING,
            message="Look at it.",
            company_id=company_id,
            open_key=f"a_test:{new_id()}",
        )

    return str(in_transaction(raise_it, None).id)


def ids_in(answer) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {each["id"] for each in answer.json["data"]}


@pytest.fixture
def colleague(visitor, ours, password_hash):
    """Somebody of our company's."""
    with transaction() as session:
        person = User(
            tenant_id=ours.tenant_id,
            company_id=ours.company_id,
            email=f"{new_id()}@example.com",
            password_hash=password_hash,
            role=Role.MEMBER,
        )
        session.add(person)
    return visitor.sign_in(person.email)


def test_companies_read_their_own_alerts_and_the_platforms_operators_the_systems_too(
    operator, ours, colleague
):
    mine, systems, theirs = (
        raised(ours.company_id),
        raised(None),
        raised(make_company().company_id),
    )
    made = {mine, systems, theirs}
    assert ids_in(operator.get(f"{ALERTS}?kind=a_test&limit=100")) & made == {mine, systems}
    assert ids_in(colleague.get("/api/v1/alerts?kind=a_test&limit=100")) & made == {mine}
    problem_of(colleague.get(ALERTS), 403, "forbidden")
    assert mine in ids_in(operator.get(f"{ALERTS}?severity=warning&is_resolved=false&limit=100"))
    assert mine not in ids_in(operator.get(f"{ALERTS}?severity=critical&limit=100"))


def test_an_alert_is_closed_once_with_a_note(operator, staff, ours):
    mine = raised(ours.company_id)
    answer = operator.post(f"{ALERTS}/{mine}/resolve", {"note": "called the bank"})
    assert answer.json["is_resolved"]
    assert answer.json["resolution"] == "called the bank"
    assert answer.json["resolved_by"] == str(staff.user_id)
    problem_of(operator.post(f"{ALERTS}/{mine}/resolve", {"note": "again"}), 409, "conflict")
    theirs = raised(make_company().company_id)
    problem_of(operator.post(f"{ALERTS}/{theirs}/resolve", {"note": "x"}), 404, "not-found")
    with transaction() as session:
        # The company hears that it is over, on the channel on which it heard of it.
        [owed] = [
            each
            for each in session.query(Owed).where(Owed.company_id == ours.company_id)
            if "called the bank" in str(each.arguments)
        ]
    assert owed.arguments["events"][0]["data"]["is_resolved"] is True


@pytest.fixture
def dead(database):
    """A dead letter that died two minutes ago."""
    with transaction() as session:
        owed = enqueue(session, "refunds.nothing")
        session.info["owed"].clear()
        owed.status = OwedStatus.DEAD
        owed.due_at -= timedelta(minutes=2, seconds=30)
    yield owed.id
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.id == owed.id))


def test_dead_letters_are_told_by_number_and_age_until_they_are_gone(visitor, dead, kept):
    operations.watch()
    figures = {name: number for name, number, tags in kept.told if tags.get("queue") == "refunds"}
    assert figures["outbox.dead_letters"] >= 1
    assert figures["outbox.oldest_dead"] >= 100
    assert ("breaker.is_open", 0, {"provider": "stripe"}) in kept.told
    shown = visitor.get("/readyz").json
    assert shown["backlog"]["refunds"]["dead"] >= 1
    assert shown["dead_letters"]["number"] >= 1
    assert shown["dead_letters"]["oldest_s"] >= 100
    assert shown["status"] == "ok"
    assert alert_about("dead_letters") is not None
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.status == OwedStatus.DEAD))
    kept.told.clear()
    operations.watch()
    assert ("outbox.dead_letters", 0, {"queue": "refunds"}) in kept.told
    assert alert_about("dead_letters") is None
