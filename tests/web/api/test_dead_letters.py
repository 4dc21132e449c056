"""Work that was given up: shown to whom it concerns, tried without a trace, owed again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select

from models.methods import ProviderCustomer
from models.money import Money
from models.operations import OperatorAct
from models.outbox import Owed, OwedStatus, enqueue
from models.tenants import Role
from models.transactions import Status, Transaction
from models.webhooks import WebhookStatus
from tasks import payments, webhooks
from tests.bell import ring
from tests.factories import make_company, make_invoice, make_method, make_payment
from tests.web.api.bureau import (
    LETTERS,
    checksums,
    die,
    event_row,
    make_open_payment,
    owed_row,
    payment_row,
    store_event,
    worker_for,
)
from tests.web.visitor import problem_of
from worker.database import transaction
from worker.gateways.base import Intent, IntentStatus


@pytest.fixture
def bug(monkeypatch):
    """A bug that each handler of events runs into, until it is fixed."""
    handler_of = webhooks._handler_of

    def broken(event):
        raise RuntimeError("poison: sk_test_4eC39HqLyjWDarjtT1zdp7dc")

    monkeypatch.setattr(webhooks, "_handler_of", broken)
    return lambda: monkeypatch.setattr(webhooks, "_handler_of", handler_of)


@pytest.fixture
def letter(ours, bug):
    """A paid intent's event that was given up: its debt, its event, its payment."""
    payment_id = make_open_payment(ours)
    event_id, owed_id = store_event(ours, payment_id)
    die("webhooks.handle", owed_id)
    return owed_id, event_id, payment_id


def test_what_was_given_up_is_shown_with_its_error_and_what_it_concerns(operator, letter):
    owed_id, event_id, _ = letter
    answer = operator.get(f"{LETTERS}/{owed_id}")
    assert answer.status_code == 200
    shown = answer.json
    assert shown["task"] == "webhooks.handle"
    assert shown["status"] == "dead"
    assert "RuntimeError: poison" in shown["error"]
    assert "sk_test_4eC39HqLyjWDarjtT1zdp7dc" not in answer.text
    assert shown["concerns"] == {"event_id": str(event_id)}
    assert (shown["failures"], shown["acts"]) == (5, [])
    assert shown["died_at"] >= shown["created_at"]


def owe_dead(company_id: UUID | None, task: str = "refunds.nothing") -> UUID:
    with transaction() as session:
        owed = enqueue(session, task, company_id=company_id, refund_id=uuid4())
        session.info["owed"].clear()
        owed.status = OwedStatus.DEAD
        return owed.id


@pytest.fixture
def letters(ours):
    """Of two companies of ours, of nobody, and of another tenant's."""
    neighbour = make_company(tenant_id=ours.tenant_id)
    ids = {
        "ours": owe_dead(ours.company_id),
        "neighbour": owe_dead(neighbour.company_id, "refunds.other"),
        "nobody": owe_dead(None),
        "theirs": owe_dead(make_company().company_id),
    }
    yield ids
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.id.in_(ids.values())))


def listed(answer) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {each["id"] for each in answer.json["data"]}


def test_an_operator_sees_their_tenants_and_nobodys(operator, ours, letters):
    names = {str(identity): name for name, identity in letters.items()}
    seen = {names[each] for each in listed(operator.get(f"{LETTERS}?limit=100")) if each in names}
    assert seen == {"ours", "neighbour", "nobody"}
    header = {"X_Company_Id": str(ours.company_id)}
    assert listed(operator.get(LETTERS, **header)) == {str(letters["ours"])}
    assert listed(operator.get(f"{LETTERS}?task=refunds.other")) == {str(letters["neighbour"])}
    of_one = f"{LETTERS}?company_id={ours.company_id}"
    assert listed(operator.get(of_one)) == {str(letters["ours"])}
    assert listed(operator.get(f"{of_one}&since=2999-01-01T00:00:00Z")) == set()
    assert listed(operator.get(f"{of_one}&status=dismissed")) == set()


def test_another_tenants_are_not_there(operator, letters):
    theirs = letters["theirs"]
    before = checksums()
    problem_of(operator.get(f"{LETTERS}/{theirs}"), 404, "not-found")
    for path, body in (
        (f"{LETTERS}/{theirs}/replay", {}),
        (f"{LETTERS}/{theirs}/dismiss", {"note": "mine"}),
        (f"{LETTERS}/replay", {"ids": [str(letters["ours"]), str(theirs)]}),
        (f"{LETTERS}/replay", {"ids": [str(theirs)], "dry_run": True}),
    ):
        problem_of(operator.post(path, body), 404, "not-found")
    assert checksums() == before
    assert {owed_row(letters[name]).status for name in letters} == {OwedStatus.DEAD}


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.OPERATOR}))
def test_only_operators_may(sign_in_as, visitor, letters, role):
    person = sign_in_as(role)
    for path in (LETTERS, f"{LETTERS}/{letters['ours']}"):
        problem_of(person.get(path), 403, "forbidden")
        problem_of(visitor.get(path), 401, "unauthenticated")
    for path in (f"{LETTERS}/replay", f"{LETTERS}/{letters['ours']}/replay"):
        problem_of(person.post(path, {"ids": [str(letters["ours"])]}), 403, "forbidden")
    assert owed_row(letters["ours"]).status is OwedStatus.DEAD


@pytest.mark.parametrize(
    "body",
    [None, {}, {"ids": []}, {"ids": ["no id"]}, {"ids": [str(uuid4())], "filter": {}},
     {"ids": [str(uuid4())] * 501}, {"filter": {"colour": "red"}},
     {"filter": {"task": "x"}, "dry_run": "yes"},
     {"filter": {}}, {"filter": {"task": None}}, {"filter": None}, {"all": False}, {"all": "yes"},
     {"all": True, "filter": {"task": "x"}}, {"all": True, "ids": [str(uuid4())]}],
)  # fmt: skip
def test_a_replay_that_makes_no_sense_is_refused(operator, letters, body):
    problem_of(operator.post(f"{LETTERS}/replay", body), 422, "invalid")
    assert owed_row(letters["ours"]).status is OwedStatus.DEAD


def foreseen(operator, letter_id):
    with worker_for("operations.preview") as worked:
        answer = operator.post(f"{LETTERS}/{letter_id}/replay", {"dry_run": True}, Prefer="wait=20")
    assert answer.status_code == 200, answer.text
    assert worked
    assert answer.json["dry_run"]
    [seen] = answer.json["foreseen"]
    assert seen["id"] == str(letter_id)
    assert "secret_abcdefghijklmnop" not in answer.text
    return seen


def change_of(seen, table):
    return next(each for each in seen["changes"] if each["table"] == table)


def test_a_dry_run_tells_what_would_change_and_changes_nothing(operator, ours, letter, bug):
    owed_id, event_id, payment_id = letter
    before, row = checksums(), owed_row(owed_id)
    assert "RuntimeError: poison" in foreseen(operator, owed_id)["error"]
    bug()  # it is fixed
    seen = foreseen(operator, owed_id)
    assert (seen["error"], seen["waits"], seen["call"]) == (None, None, None)
    payment = change_of(seen, "transactions")
    assert (payment["id"], payment["how"]) == (str(payment_id), "update")
    assert payment["columns"]["status"] == ["processing", "succeeded"]
    assert payment["columns"]["amount_captured"] == ["0.00", "100.00"]
    assert change_of(seen, "invoices")["columns"]["status"] == ["open", "paid"]
    assert change_of(seen, "payment_webhooks")["columns"]["status"] == ["failed", "completed"]
    ledger = [each for each in seen["changes"] if each["table"] == "ledger_entries"]
    assert [each["how"] for each in ledger] == ["insert", "insert"]
    assert {"payment.succeeded", "invoice.paid"} <= {each["type"] for each in seen["announces"]}
    assert seen["ends"] == [str(owed_id)]
    assert checksums() == before
    after = owed_row(owed_id)
    assert (after.status, after.failures, after.error) == (row.status, row.failures, row.error)
    assert event_row(event_id).status == WebhookStatus.FAILED
    assert payment_row(ours, payment_id).status == Status.PROCESSING


def test_a_replay_after_the_fix_does_the_work_once_and_is_written_down(
    operator, staff, ours, letter, bug
):
    owed_id, event_id, payment_id = letter
    bug()
    answer = operator.post(f"{LETTERS}/{owed_id}/replay", {"note": "fixed in 1.2"})
    assert answer.json == {
        "dry_run": False, "replayed": [str(owed_id)], "left": 0, "foreseen": []
    }  # fmt: skip
    row = owed_row(owed_id)
    assert (row.status, row.failures, row.starts) == (OwedStatus.OWED, 0, 0)
    assert event_row(event_id).status == WebhookStatus.RECEIVED
    # It is dead no more: it can be replayed once.
    problem_of(operator.post(f"{LETTERS}/{owed_id}/replay", {}), 404, "not-found")
    ring("webhooks.handle", owed_id)
    assert owed_row(owed_id) is None
    assert payment_row(ours, payment_id).status == Status.SUCCEEDED
    with transaction() as session:
        [act] = session.scalars(select(OperatorAct).where(OperatorAct.subject_id == owed_id))
    assert (act.action, act.user_id, act.note) == ("replay", staff.user_id, "fixed in 1.2")


def test_many_are_replayed_by_a_filter(operator, ours, letters):
    more = [owe_dead(ours.company_id, "refunds.many") for _ in range(3)]
    answer = operator.post(f"{LETTERS}/replay", {"filter": {"task": "refunds.many"}})
    assert answer.json["replayed"] == sorted(map(str, more))
    assert {owed_row(each).status for each in more} == {OwedStatus.OWED}
    assert owed_row(letters["ours"]).status is OwedStatus.DEAD
    again = operator.post(f"{LETTERS}/replay", {"filter": {"task": "refunds.many"}})
    assert again.json["replayed"] == []
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.id.in_(more)))


def test_a_dry_run_is_of_twenty_at_a_time(operator, ours, use):
    use(wait_s="0.05")
    task = f"refunds.{uuid4().hex}"
    many = [str(owe_dead(ours.company_id, task)) for _ in range(21)]
    path = f"{LETTERS}/replay"
    problem_of(operator.post(path, {"ids": many, "dry_run": True}), 422, "invalid")
    with worker_for("operations.preview"):
        body = {"filter": {"task": task}, "dry_run": True}
        answer = operator.post(path, body, Prefer="wait=20")
    assert len(answer.json["foreseen"]) == 20
    assert answer.json["left"] == 1
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.task == task))


def test_what_is_dismissed_is_kept_with_the_note_and_can_still_be_replayed(operator, letters):
    mine = letters["ours"]
    problem_of(operator.post(f"{LETTERS}/{mine}/dismiss", {}), 422, "invalid")
    answer = operator.post(f"{LETTERS}/{mine}/dismiss", {"note": "settled by telephone"})
    assert answer.status_code == 200, answer.text
    assert answer.json["status"] == "dismissed"
    assert [act["note"] for act in answer.json["acts"]] == ["settled by telephone"]
    assert str(mine) not in listed(operator.get(LETTERS))
    assert str(mine) in listed(operator.get(f"{LETTERS}?status=dismissed"))
    replayed = operator.post(f"{LETTERS}/{mine}/replay", {})
    assert replayed.json["replayed"] == [str(mine)]
    shown = operator.get(f"{LETTERS}/{mine}")
    problem_of(shown, 404, "not-found")


@pytest.fixture
def unsent(ours, monkeypatch):
    """A charge that was given up before anything was sent: a bug of ours."""
    with transaction(company_id=ours.company_id) as session:
        row = ProviderCustomer(company_id=ours.company_id, provider="stripe", provider_id="cus_1")
        session.add(row)
    payment_id = make_payment(
        ours, make_invoice(ours.company_id), payment_method_id=make_method(ours)
    )
    with transaction(company_id=ours.company_id) as session:
        owed_id = enqueue(session, "payments.charge", transaction_id=payment_id).id

    def broken(*_, **__):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("tasks.claims.start_attempt", broken)
        die("payments.charge", owed_id)
    assert payment_row(ours, payment_id).status == Status.NEEDS_REVIEW
    return owed_id, payment_id


class Till:
    """A provider that charges; counts what it is asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def charge(self, request):
        self.keys.append(request.key)
        money = Money(Decimal("100.00"), "INR")
        done = Intent(provider_id=f"pi_{uuid4().hex}", status=IntentStatus.SUCCEEDED, money=money)
        return replace(done, captured=money)


def test_a_dry_run_of_a_charge_names_the_call_and_does_not_make_it(
    operator, ours, unsent, monkeypatch
):
    till = Till()
    monkeypatch.setattr(payments, "gateway_for", lambda _: till)
    owed_id, payment_id = unsent
    before = checksums()
    with monkeypatch.context() as patch:
        # A dry run must not become the probe of a breaker.
        patch.setattr("worker.app.breaker_of", lambda _: 1 / 0)
        seen = foreseen(operator, owed_id)
    assert seen["error"] is None
    call = seen["call"]
    assert (call["task"], call["provider"]) == ("payments.charge", "stripe")
    assert call["money"] == str(Money(Decimal("100.00"), "INR"))
    attempt = change_of(seen, "payment_attempts")
    assert call["idempotency_key"] == attempt["columns"]["idempotency_key"][1]
    moves = change_of(seen, "transactions")["columns"]["status"]
    assert moves == ["needs_review", "processing"]
    assert till.keys == []
    assert checksums() == before
    operator.post(f"{LETTERS}/{owed_id}/replay", {})
    ring("payments.charge", owed_id)
    assert len(till.keys) == 1
    assert payment_row(ours, payment_id).status == Status.SUCCEEDED
    with transaction(company_id=ours.company_id) as session:
        assert len(session.get_one(Transaction, payment_id).attempts) == 1


def test_a_dry_run_does_not_tell_of_another_tenants_payment(operator, bug):
    """An event is nobody's until it is handled; what it is about may be another tenant's."""
    stranger = make_company()
    payment_id = make_open_payment(stranger)
    _, owed_id = store_event(stranger, payment_id)
    die("webhooks.handle", owed_id)
    bug()
    seen = foreseen(operator, owed_id)
    assert seen["error"] == "It concerns a company that is not yours."
    assert (seen["changes"], seen["announces"]) == ([], [])
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.id == owed_id))


def test_a_dry_run_waits_for_nobody(operator, ours, letter, bug):
    bug()
    owed_id, _, payment_id = letter
    with transaction(company_id=ours.company_id) as session:
        session.get_one(Transaction, payment_id, with_for_update=True)
        seen = foreseen(operator, owed_id)
    assert seen["error"] == "what it needs is in other hands just now"


def test_without_a_worker_a_dry_run_says_so(operator, letters, use):
    use(wait_s="0.05")
    body = {"ids": [str(letters["ours"])], "dry_run": True}
    answer = operator.post(f"{LETTERS}/replay", body)
    problem_of(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    with transaction() as session:
        session.execute(delete(Owed).where(Owed.task == "operations.preview"))
