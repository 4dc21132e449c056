from sqlalchemy import select

from models.notifications import Notification, owe_notice
from models.outbox import Owed
from models.timeline import history
from models.transactions import Transaction
from tests.bell import ring
from tests.factories import make_invoice, make_payment
from worker.database import transaction


def owe(customer, payment_id, number=1):
    with transaction(company_id=customer.company_id) as session:
        payment = session.get(Transaction, payment_id)
        owe_notice(session, "payment_failed", payment, number=number, reason="no funds")
        (owed,) = session.info["owed"]
        return owed.id


def notices(customer):
    with transaction(company_id=customer.company_id) as session:
        return session.scalars(select(Notification).order_by(Notification.id)).all()


def test_a_notice_is_written_once_however_often_it_is_owed(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    debts = [owe(customer, payment_id) for _ in range(2)]
    for debt in (*debts, debts[0]):
        ring("notifications.notify", debt)
    (notice,) = notices(customer)
    assert (notice.template, notice.subject, notice.subject_id) == (
        "payment_failed",
        "transaction",
        payment_id,
    )
    assert (notice.arguments, notice.number) == ({"reason": "no funds"}, 1)
    with transaction(company_id=customer.company_id) as session:
        assert [(line.what, line.why) for line in history(session, [payment_id])] == [
            ("notice", "payment_failed")
        ]
        assert session.scalars(select(Owed.id).where(Owed.id.in_(debts))).all() == []


def test_another_number_is_another_notice(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    for number in (1, 2):
        ring("notifications.notify", owe(customer, payment_id, number))
    assert [notice.number for notice in notices(customer)] == [1, 2]
