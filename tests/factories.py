"""Rows for tests, made through the models. Each returns what a test goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus, bill, next_number
from models.methods import MethodStatus, MethodType, PaymentMethod
from models.tenants import Company, Role, Tenant, User
from models.transactions import Provider, Transaction
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
        amount=Decimal(amount),
        currency=currency,
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
