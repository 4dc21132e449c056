"""Invoices of subscriptions: each period's is made once, and charged where that is agreed to.

invoicing.generate    a period has begun, or a subscription has ended: its invoice is issued
"""

from __future__ import annotations

from datetime import date, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from models import customer_credit, invoices, locks
from models.alerts import Severity
from models.clock import now
from models.collection import chargeable_method, collect, takes
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.money import InvalidAmount
from models.standing import overdue_at
from models.statements import gathered
from models.subscriptions import (
    PeriodStatus,
    Subscription,
    SubscriptionPeriod,
    generating,
    lock_existing,
    pending_changes,
)
from models.tenants import Company
from models.timeline import Cause, note
from worker import crash
from worker.alerts import alert
from worker.app import task
from worker.billing import issue

# What nobody has agreed to have charged is to be paid within so many days.
NET_DAYS = 14


@task("invoicing.generate")
def generate(session: Session, cause: Cause, *, period_id: str) -> None:
    """Issue the invoice of a period. Safe twice: a period that has its invoice is left alone.

    Those of earlier periods come first, so that a subscription's invoices are numbered in order.
    """
    found = session.get(SubscriptionPeriod, UUID(period_id))
    if found is None:
        return
    subscription = lock_existing(session, found.subscription_id)
    # The company, and then its methods: so does whoever changes those. The credit and the number
    # are the company's as well.
    locks.lock_existing(session, Company, subscription.company_id)
    method = chargeable_method(session, subscription.payment_method_id)
    for period in generating(session, subscription.id):
        if period.starts_at <= found.starts_at:
            try:
                _bill(session, subscription, period, method, cause)
            except InvalidAmount as error:
                _leave(session, subscription, period, str(error))
    crash.point("invoicing.issued")


def _bill(
    session: Session,
    subscription: Subscription,
    period: SubscriptionPeriod,
    method: PaymentMethod | None,
    cause: Cause,
) -> None:
    changes = pending_changes(session, subscription.id, until=period.starts_at)
    lines = gathered(
        subscription,
        lines=period.lines,
        usage_prices=period.usage_prices,
        usage_from=period.usage_from,
        usage_until=period.usage_until,
        changes=changes,
    )
    if not lines:
        period.status, period.why = PeriodStatus.UNBILLED, "nothing was to be billed"
        return
    company = locks.lock_existing(session, Company, subscription.company_id)
    available = customer_credit.balance(session, company.id, subscription.currency)
    lines, credited = customer_credit.settled(lines, subscription.currency, available)
    invoice = invoices.draft(
        session,
        company.id,
        currency=subscription.currency,
        lines=lines,
        subscription_id=subscription.id,
        period=(period.starts_at, period.ends_at),
    )
    if method is not None and not takes(method, invoice.amount, invoice.currency):
        method = None
    invoice.due_on = _due_on(company, method)
    because = cause.but(f"for {period.starts_at:%Y-%m-%d} to {period.ends_at:%Y-%m-%d}")
    issue(session, invoice, because)
    customer_credit.book(session, invoice, credited)
    period.status, period.invoice_id = PeriodStatus.INVOICED, invoice.id
    for change in changes:
        change.invoiced_in = invoice.id
    note(session, subscription, what="invoiced", because=cause.but(f"by {invoice.number}"))
    collect(session, invoice, method, because=cause)
    _watch(subscription, invoice)
    session.flush()


def _leave(
    session: Session, subscription: Subscription, period: SubscriptionPeriod, why: str
) -> None:
    """Leave what no invoice can hold, and tell: the periods after it are billed all the same."""
    period.status, period.why = PeriodStatus.UNBILLED, f"cannot be billed: it {why}"
    alert(
        session,
        "period_not_billed",
        severity=Severity.CRITICAL,
        message=f"The period from {period.starts_at:%Y-%m-%d} {period.why}. Bill it by hand.",
        subject=subscription,
        open_key=f"period_not_billed:{period.id}",
    )


def _due_on(company: Company, method: PaymentMethod | None) -> date:
    today = now().astimezone(ZoneInfo(company.time_zone)).date()
    return today if method is not None else today + timedelta(days=NET_DAYS)


def _watch(subscription: Subscription, invoice: Invoice) -> None:
    """Have the sweep look when the invoice becomes overdue."""
    ends_at = overdue_at(invoice, subscription.time_zone)
    if invoice.due.amount > 0 and ends_at is not None:
        subscription.overdue_at = min(ends_at, subscription.overdue_at or ends_at)
        subscription.look_next()
