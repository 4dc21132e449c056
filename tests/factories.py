"""Rows for tests, made through the models. Each returns what a test goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from models.clock import now
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus, bill, next_number, snapshot
from models.mail import Mail, MailStatus
from models.methods import MethodStatus, MethodType, PaymentMethod
from models.modules import Module, subscribe
from models.plans import Plan, PlanPrice
from models.prices import PriceKind
from models.subscriptions import Subscription, SubscriptionStatus
from models.tenants import Company, Role, Tenant, User
from models.timeline import Cause
from models.transactions import Provider, Transaction
from schedules.periods import Interval
from worker.database import transaction


@dataclass(frozen=True)
class Customer:
    """A company with its tenant and its owner."""

    tenant_id: UUID
    company_id: UUID
    user_id: UUID
    email: str


def make_company(
    *, role: Role = Role.OWNER, tenant_id: UUID | None = None, password_hash: str = "none"
) -> Customer:
    with transaction() as session:
        if tenant_id is None:
            tenant = Tenant(id=new_id(), name="A tenant")
            session.add(tenant)
            session.flush()
            tenant_id = tenant.id
        company = Company(tenant_id=tenant_id, name="A company", email="billing@example.com")
        session.add(company)
        session.flush()
        email = f"{new_id()}@example.com"
        user = User(
            tenant_id=tenant_id,
            company_id=company.id,
            email=email,
            password_hash=password_hash,
            role=role,
        )
        session.add(user)
        session.flush()
        return Customer(tenant_id, company.id, user.id, email)


def make_invoice(company_id: UUID, amount: str = "100.00", currency: str = "INR") -> UUID:
    with transaction(company_id=company_id) as session:
        return add_invoice(session, company_id, amount, currency)


def add_invoice(session: Session, company_id: UUID, amount: str, currency: str = "INR") -> UUID:
    """An open invoice, in the ledger as the API would have put it there."""
    invoice = Invoice(
        company_id=company_id,
        number=next_number(session, company_id),
        status=InvoiceStatus.OPEN,
        subtotal=Decimal(amount),
        amount=Decimal(amount),
        currency=currency,
        issued_at=now(),
        billed_to=snapshot(session, company_id),
    )
    session.add(invoice)
    session.flush()
    bill(session, invoice)
    return invoice.id


def make_method(customer: Customer, provider_id: str | None = None, **columns: object) -> UUID:
    """An active card; give `token` and `status` for one that is yet to be attached."""
    with transaction(company_id=customer.company_id) as session:
        values: dict[str, object] = {
            "status": MethodStatus.ACTIVE,
            "is_active": True,
            "provider_id": provider_id or f"pm_{new_id().hex}",
            "last_four": "4242",
            "type": MethodType.CARD,
            "provider": "stripe",
        }
        method = PaymentMethod(
            company_id=customer.company_id,
            user_id=customer.user_id,
            **{**values, **columns},
        )
        session.add(method)
        session.flush()
        return method.id


def make_mail(customer: Customer, *, status: MailStatus = MailStatus.SENT) -> UUID:
    """A letter to one of the company's people, about a payment that is not there."""
    with transaction(company_id=customer.company_id) as session:
        mail = Mail(
            company_id=customer.company_id,
            notification_id=new_id(),
            template="payment_failed",
            entity="transaction",
            entity_id=new_id(),
            recipient=customer.email,
            status=status,
        )
        session.add(mail)
        session.flush()
        return mail.id


def make_module(customer: Customer, *, is_taken: bool = True, **columns: object) -> UUID:
    """A module of the customer's tenant, which their company has unless told otherwise."""
    with transaction(company_id=customer.company_id) as session:
        module = Module(
            tenant_id=customer.tenant_id, **{"code": new_id().hex, "name": "A module", **columns}
        )
        session.add(module)
        session.flush()
        if is_taken:
            taken, _ = subscribe(
                session, customer.company_id, module.id, because=Cause(why="a test")
            )
            taken.subscribed_at -= timedelta(days=500)  # use of before may be recorded
        return module.id


def make_plan(customer: Customer, module_id: UUID, amount: str = "30.00") -> UUID:
    """A monthly plan of the customer's tenant that has one module at a flat price in rupees."""
    with transaction() as session:
        plan = Plan(
            tenant_id=customer.tenant_id, code=new_id().hex, name="A plan", interval=Interval.MONTH
        )
        session.add(plan)
        session.flush()
        session.add(
            PlanPrice(
                plan_id=plan.id,
                module_id=module_id,
                currency="INR",
                kind=PriceKind.FLAT,
                unit_amount=Decimal(amount),
            )
        )
        return plan.id


def make_subscription(customer: Customer, plan_id: UUID, **columns: object) -> UUID:
    """An active subscription that was begun a day ago, and nothing billed for it yet."""
    begun = now().replace(microsecond=0) - timedelta(days=1)
    with transaction(company_id=customer.company_id) as session:
        subscription = Subscription(
            company_id=customer.company_id,
            plan_id=plan_id,
            **{
                "status": SubscriptionStatus.ACTIVE,
                "currency": "INR",
                "interval": Interval.MONTH,
                "time_zone": "UTC",
                "anchor_at": begun,
                "period_number": 1,
                "current_period_start": begun,
                "current_period_end": begun + timedelta(days=30),
                "usage_from": begun,
                **columns,
            },
        )
        session.add(subscription)
        session.flush()
        return subscription.id


def make_payment(
    customer: Customer, invoice_id: UUID, amount: str = "100.00", **columns: object
) -> UUID:
    with transaction(company_id=customer.company_id) as session:
        payment = Transaction(
            company_id=customer.company_id,
            invoice_id=invoice_id,
            amount=Decimal(amount),
            **{"payment_method": Provider.STRIPE, "currency": "INR", **columns},
        )
        session.add(payment)
        session.flush()
        return payment.id
