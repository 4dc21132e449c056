from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from models.base import across_companies
from models.outbox import Owed
from models.timeline import Cause
from models.transactions import Status, Transaction, lock_existing
from tests.web.api.shop import INTENTS, PAYMENTS, add_card, bill, paid, pay, refuses


def test_a_payment_with_a_kept_card_settles_the_invoice(system, owner):
    card, invoice_id = add_card(owner), bill(owner, "100.05")
    answer = pay(owner, invoice_id, Decimal("100.05"), payment_method_id=card)
    assert answer.status == 200, answer
    assert answer.body["status"] == "succeeded"
    assert answer.headers["Location"] == f"{PAYMENTS}/{answer.body['transaction_id']}"
    [charge] = system.stripe.charges(answer.body["transaction_id"])
    assert (charge["amount_captured"], charge["currency"]) == (10005, "inr")
    shown = owner.get(answer.headers["Location"]).body
    assert (shown["status"], shown["amount"]) == ("succeeded", Decimal("100.05"))
    invoice = owner.get(f"/api/v1/invoices/{invoice_id}").body
    assert (invoice["status"], invoice["amount_due"]) == ("paid", 0)


def test_amounts_are_written_as_exact_numbers(owner):
    payment_id = paid(owner, "10000.00")
    assert '"amount":10000.00,' in owner.get(f"{PAYMENTS}/{payment_id}").text


def test_without_a_method_the_browser_gets_the_client_secret(system, owner):
    answer = pay(owner, bill(owner))
    assert answer.status == 200, answer
    assert answer.body["status"] == "requires_action"
    secret = answer.body["client_secret"]
    system.stripe.confirm_in_browser(secret, payment_method="pm_card_visa")
    path = answer.headers["Location"]
    system.wait_until(lambda: owner.get(path).body["status"] == "succeeded")


def test_a_declined_card_is_told_with_its_code(owner):
    card = add_card(owner, "pm_card_chargeCustomerFail")
    answer = pay(owner, bill(owner), payment_method_id=card)
    assert answer.status == 200, answer
    assert answer.body["status"] == "failed"
    assert answer.body["error"]["code"] == "generic_decline"
    assert answer.body["client_secret"] is None


def test_the_default_method_pays_while_the_customer_is_away(system, owner):
    refuses(pay(owner, bill(owner), off_session=True), 422, "payment_method_id")
    card = add_card(owner)
    answer = pay(owner, bill(owner), off_session=True)
    assert answer.body["status"] == "succeeded"
    shown = owner.get(answer.headers["Location"]).body
    assert (shown["payment_method_id"], shown["off_session"]) == (card, True)


def test_an_invoice_is_paid_in_parts(owner):
    card, invoice_id = add_card(owner), bill(owner)
    assert pay(owner, invoice_id, 60, payment_method_id=card).body["status"] == "succeeded"
    invoice = owner.get(f"/api/v1/invoices/{invoice_id}").body
    assert (invoice["status"], invoice["amount_due"]) == ("open", 40)
    refuses(pay(owner, invoice_id, "40.01", payment_method_id=card), 422, "amount")
    assert pay(owner, invoice_id, 40, payment_method_id=card).body["status"] == "succeeded"
    assert owner.get(f"/api/v1/invoices/{invoice_id}").body["status"] == "paid"
    refuses(pay(owner, invoice_id, 1, payment_method_id=card), 409)


@pytest.mark.parametrize(
    "amount",
    [0, -1, "0.00", "100.001", Decimal("0.001"), "NaN", "Infinity", "1e2", "1_0", " 1", "\u0661",
     "", True, None, [], {}, "100.01", 10**20, Decimal("9" * 40), "99999999999999999999"],
)  # fmt: skip
def test_an_amount_that_cannot_be_paid_is_refused_by_name(owner, amount):
    refuses(pay(owner, bill(owner), amount), 422, "amount")


def test_an_amount_beyond_any_float_is_refused_and_not_rounded(owner):
    body = f'{{"invoice_id":"{bill(owner)}","amount":100.00000000000000000001}}'
    refuses(owner.post(INTENTS, body.encode()), 422, "amount")
    body = body.replace("100.00000000000000000001", "1e400")
    refuses(owner.post(INTENTS, body.encode()), 422, "amount")
    # What no amount can be near is refused as JSON, before anything is made of it.
    refuses(owner.post(INTENTS, body.replace("1e400", "1e400000").encode()), 400)


def test_a_currency_without_decimals_takes_none(system, owner):
    invoice_id = bill(owner, "500", currency="JPY")
    refuses(pay(owner, invoice_id, "1.50"), 422, "amount")
    answer = pay(owner, invoice_id, 500, currency="jpy", payment_method_id=add_card(owner))
    [charge] = system.stripe.charges(answer.body["transaction_id"])
    assert (charge["amount_captured"], charge["currency"]) == (500, "jpy")


def test_what_does_not_fit_the_invoice_is_refused_by_name(system, owner):
    invoice_id = bill(owner)
    refuses(pay(owner, invoice_id, currency="USD"), 422, "currency")
    refuses(pay(owner, invoice_id, currency="XXX"), 422, "currency")
    refuses(pay(owner, invoice_id, currency="\u0131nr"), 422, "currency")  # its capital is I
    refuses(pay(owner, invoice_id, payment_method_id=str(uuid4())), 422, "payment_method_id")
    refuses(pay(owner, "no id"), 422, "invoice_id")
    refuses(pay(owner, invoice_id, off_session="yes"), 422, "off_session")
    refuses(pay(owner, str(uuid4())), 404)
    stranger = add_card(system.member())
    refuses(pay(owner, invoice_id, payment_method_id=stranger), 422, "payment_method_id")


def test_an_invoice_has_one_open_payment(system, owner):
    invoice_id = bill(owner)
    first = pay(owner, invoice_id)
    second = pay(owner, invoice_id)
    refuses(second, 409)
    assert second.body["transaction_id"] == first.body["transaction_id"]
    assert second.headers["Location"] == first.headers["Location"]


def test_ten_payments_of_one_invoice_at_once_make_one_charge(system, owner):
    card, invoice_id = add_card(owner), bill(owner)
    with ThreadPoolExecutor(10) as pool:
        answers = list(
            pool.map(lambda _: pay(owner, invoice_id, payment_method_id=card), range(10))
        )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 9
    [paid_one] = [answer for answer in answers if answer.status == 200]
    assert len(system.stripe.charges(paid_one.body["transaction_id"])) == 1


def test_the_same_key_fifty_times_at_once_gives_one_payment_and_one_answer(system, owner):
    card, invoice_id = add_card(owner), bill(owner)
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda _: pay(owner, invoice_id, key="once", payment_method_id=card), range(50)
            )
        )
    assert {(answer.status, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert answers[0].body["client_secret"]
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 49
    [charge] = system.stripe.charges(answers[0].body["transaction_id"])
    assert charge["amount_captured"] == 10000


def test_the_same_key_for_another_amount_is_refused(owner):
    invoice_id = bill(owner)
    pay(owner, invoice_id, key="once")
    refuses(pay(owner, invoice_id, "99.00", key="once"), 422)


def test_a_request_that_was_refused_leaves_its_key_free(owner):
    invoice_id = bill(owner)
    refuses(pay(owner, invoice_id, "100.01", key="mended"), 422, "amount")
    assert pay(owner, invoice_id, "100.00", key="mended").status == 200


def test_who_does_not_wait_is_told_where_to_look(system, owner):
    card, invoice_id = add_card(owner), bill(owner)
    body = {"invoice_id": invoice_id, "amount": "100.00", "payment_method_id": card}
    answer = owner.post(INTENTS, body, key="later", prefer="respond-async")
    assert answer.status == 202, answer
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.body["client_secret"] is None
    again = owner.post(INTENTS, body, key="later", prefer="wait=20")
    assert (again.status, again.body["status"]) == (200, "succeeded")
    assert again.body["transaction_id"] == answer.body["transaction_id"]
    assert again.body["client_secret"]


def test_without_a_worker_the_payment_is_kept_and_made_later(system, owner):
    card, invoice_id = add_card(owner), bill(owner)
    system.worker.kill()
    try:
        began = time.monotonic()
        body = {"invoice_id": invoice_id, "amount": "100.00", "payment_method_id": card}
        answer = owner.post(INTENTS, body, key="patient", prefer="wait=1")
        assert time.monotonic() - began > 0.9
        assert answer.headers["Preference-Applied"] == "wait=1"
        assert (answer.status, answer.body["status"]) == (202, "pending"), answer
    finally:
        system.worker.start()
    again = owner.post(INTENTS, body, key="patient", prefer="wait=20")
    assert (again.status, again.body["status"]) == (200, "succeeded"), again
    assert len(system.stripe.charges(answer.body["transaction_id"])) == 1


def test_the_client_secret_is_kept_in_no_row(system, owner):
    answer = pay(owner, bill(owner), key="secret")
    secret = answer.body["client_secret"]
    assert pay(owner, bill(owner), key="another").body["client_secret"] != secret
    with system.engine.connect() as connection:
        tables = [row[0] for row in connection.exec_driver_sql("SHOW TABLES")]
        for table in tables:
            rows = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
            assert secret not in str(rows), table


def test_payments_are_listed_newest_first_page_by_page(owner):
    card = add_card(owner)
    made = [pay(owner, bill(owner), payment_method_id=card).body["transaction_id"] for _ in "12345"]
    found, cursor = [], None
    while True:
        page = owner.get(PAYMENTS, limit=2, cursor=cursor).body
        assert len(page["data"]) <= 2
        found += [payment["id"] for payment in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == made[::-1]


def test_payments_are_found_by_what_they_are(owner):
    card, bad = add_card(owner), add_card(owner, "pm_card_chargeCustomerFail")
    invoice_id = bill(owner)
    failed = pay(owner, invoice_id, payment_method_id=bad).body["transaction_id"]
    good = pay(owner, bill(owner), payment_method_id=card).body["transaction_id"]

    def ids(**query):
        return [payment["id"] for payment in owner.get(PAYMENTS, **query).body["data"]]

    between = owner.get(f"{PAYMENTS}/{good}").body["created_at"]
    assert ids() == [good, failed]
    assert ids(status="failed") == [failed]
    assert ids(invoice_id=invoice_id) == [failed]
    assert ids(payment_method="stripe") == [good, failed]
    assert ids(payment_method="paypal") == []
    assert ids(created_from=between) == [good]
    assert ids(created_to=between) == [failed]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"), ("limit", "101"), ("limit", "x"), ("cursor", "x"), ("cursor", "é"),
        ("status", "lost"), ("invoice_id", "x"), ("created_from", "2026-01-01T00:00:00"),
        ("created_from", "0001-01-01T00:00:00+14:00"), ("colour", "red"), ("created_to", "0.5"),
    ],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused_by_name(owner, field, value):
    # Several statuses may be asked for; it is told which of them is none.
    told = "status.0" if field == "status" else field
    refuses(owner.get(PAYMENTS, **{field: value}), 422, told)


def test_the_timeline_tells_what_happened_and_what_caused_it(system, owner):
    payment_id = paid(owner)
    path = f"{PAYMENTS}/{payment_id}"
    owner.post(f"{path}/refund", {"amount": "40.00", "reason": "customer_request"})
    events = {"payment_intent.succeeded", "refund.created", "charge.refunded"}

    def lines():
        return owner.get(f"{path}/timeline").body["data"]

    system.wait_until(lambda: events <= {line["why"] for line in lines()})
    told = [(line["subject"], line["what"], line["became"]) for line in lines()]
    for expected in [
        ("invoice", "move", "open"),
        ("transaction", "begun", None),
        ("transaction", "move", "processing"),
        ("transaction", "answer", None),
        ("transaction", "move", "succeeded"),
        ("invoice", "move", "paid"),
        ("refund", "begun", None),
        ("refund", "move", "succeeded"),
        ("transaction", "move", "partially_refunded"),
    ]:
        assert expected in told
    of_begun = ("transaction", "begun")
    begun = next(line for line in lines() if (line["subject"], line["what"]) == of_begun)
    assert begun["user_id"] == owner.user["id"]
    assert begun["request_id"]
    answered = next(line for line in lines() if line["what"] == "answer")
    assert answered["provider_request_id"].startswith("req_")
    assert answered["attempt_id"]
    assert answered["request_id"] == begun["request_id"]


def test_a_refused_payment_leaves_nothing_behind(system, owner):
    invoice_id = bill(owner)
    refuses(pay(owner, invoice_id, "100.01"), 422, "amount")
    with system.session(owner.company_id) as session:
        assert session.scalars(select(Transaction)).all() == []
        owed = select(Owed).where(
            Owed.company_id == owner.company_id, Owed.task == "payments.charge"
        )
        assert session.scalars(owed).all() == []


def test_a_payment_that_comes_to_life_meanwhile_refuses_another(system, owner):
    good, bad = add_card(owner), add_card(owner, "pm_sandbox_decline_expired_card")
    invoice_id = bill(owner)
    declined = pay(owner, invoice_id, payment_method_id=bad).body["transaction_id"]
    with ThreadPoolExecutor(1) as pool:
        with system.session(owner.company_id) as session:
            payment = lock_existing(session, UUID(declined))
            payment.move_to(Status.REQUIRES_ACTION, because=Cause(why="a test"))
            session.flush()
            asked = pool.submit(pay, owner, invoice_id, payment_method_id=good)
            system.wait_until(lambda: is_anybody_waiting(system))
        answer = asked.result()
    refuses(answer, 409)
    assert answer.body["transaction_id"] == declined


def is_anybody_waiting(system):
    # innodb_trx would be a copy that is not renewed for as long as it is read often.
    query = text(
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE db = DATABASE() AND info LIKE 'INSERT INTO transactions%'"
    )
    with system.session() as session:
        return session.scalar(across_companies(query, because="the server's own table"))
