"""Customers of a provider's, as companies of ours with the methods that the provider keeps.

A customer is known by the provider's id; one that names a company of ours in its metadata is that
company. What the provider told last is remembered: what it tells anew is taken over, and what was
changed here is left alone as long as it tells the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.base import across_companies, turn_to
from models.dunning import owe_restart
from models.ids import new_id
from models.imports import Complaint, Refused
from models.methods import (
    KEPT_BY,
    MethodStatus,
    MethodType,
    PaymentMethod,
    ProviderCustomer,
    customer_of,
    has_default,
)
from models.money import CURRENCIES
from models.tenants import Company, Language
from models.timeline import Cause, note
from models.wallet import hold, make_default

BECAUSE = "a provider's customer may be anybody's until it is found"
ADDRESS = ("line1", "line2", "postal_code", "city", "state", "country")
LONGEST = 255
LONGEST_TAX_ID = 50
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, kw_only=True)
class KeptMethod:
    """A method as the provider keeps it; `type` is in our words, or the provider's for others."""

    provider_id: str
    type: str
    last_four: str | None
    brand: str | None
    exp_month: int | None
    exp_year: int | None
    fingerprint: str | None


@dataclass(frozen=True, kw_only=True)
class FoundCustomer:
    """A customer as the provider tells it; what it does not know is empty."""

    provider: str
    provider_id: str
    name: str
    email: str
    address: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    tax_id: str = ""
    currency: str = ""
    company_id: str = ""  # ours, in its metadata
    default_method: str = ""


@dataclass
class Outcome:
    """What became of a customer and of its methods."""

    is_new: bool = False
    is_changed: bool = False
    methods_made: int = 0
    methods_updated: int = 0
    methods_skipped: int = 0

    @property
    def word(self) -> str:
        """Return the count of an import that it belongs to."""
        if self.is_new:
            return "made"
        has_more = self.is_changed or self.methods_made or self.methods_updated
        return "updated" if has_more else "skipped"


def facts_of(found: FoundCustomer) -> dict[str, Any]:
    """Return what a company has of a customer; only what the provider tells.

    Raises:
        Refused: what a company must have is missing or wrong.
    """
    complaints = []
    email = found.email.strip()
    if not email:
        complaints.append(Complaint("email", "", "The customer has no email address."))
    elif len(email) > LONGEST or not _EMAIL.fullmatch(email):
        complaints.append(Complaint("email", email, "It is not an email address."))
    currency = found.currency.upper()
    if currency and currency not in CURRENCIES:
        complaints.append(Complaint("currency", currency, "It cannot be charged in here."))
    if complaints:
        raise Refused(*complaints)
    address = {
        name: _line(found.address.get(name) or "")[:LONGEST]
        for name in ADDRESS
        if _line(found.address.get(name) or "")
    }
    if len(address.get("country", "XX")) != 2:  # noqa: PLR2004  ISO 3166
        address.pop("country")
    language = found.language[:2].lower()
    facts: dict[str, Any] = {
        "name": (_line(found.name) or email)[:LONGEST],
        "email": email,
        "address": address,
        "language": language if language in set(Language) else "",
        "tax_id": _line(found.tax_id)[:LONGEST_TAX_ID],
        "currency": currency,
    }
    return {name: value for name, value in facts.items() if value}


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text).strip()


def take_over(  # noqa: PLR0913  whose it becomes, and why
    session: Session,
    found: FoundCustomer,
    methods: list[KeptMethod],
    *,
    tenant_id: UUID,
    user_id: UUID,
    default_currency: str,
    because: Cause,
) -> Outcome:
    """Make or bring up to date the company that a customer is, and its methods.

    The session acts for that company from then on.

    Raises:
        Refused: it is or would be somebody else's, or cannot be a company here.
    """
    facts = facts_of(found)
    outcome = Outcome()
    kept = _kept(session, found)
    company = _company(session, found, kept, tenant_id)
    if company is None:
        company = Company(
            id=new_id(), tenant_id=tenant_id, **{"currency": default_currency, **facts}
        )
        session.add(company)
        session.flush()
        outcome.is_new = True
    turn_to(session, company.id, request_id=because.request_id)
    hold(session, company.id)
    customer = own_customer(session, found, company)
    outcome.is_changed |= _apply(company, facts, customer, is_new=outcome.is_new)
    customer.imported = facts
    for method in reversed(methods):  # the oldest first, as ids are in the order of time
        _take_method(session, found, method, user_id, outcome, because)
    _choose_default(session, found, because, is_new=outcome.is_new)
    session.flush()
    return outcome


def _kept(session: Session, found: FoundCustomer) -> ProviderCustomer | None:
    return session.scalars(
        across_companies(
            select(ProviderCustomer).where(
                ProviderCustomer.provider == found.provider,
                ProviderCustomer.provider_id == found.provider_id,
            ),
            because=BECAUSE,
        )
    ).one_or_none()


def _company(
    session: Session, found: FoundCustomer, kept: ProviderCustomer | None, tenant_id: UUID
) -> Company | None:
    """Return the company that a customer is; None if it is none yet."""
    company_id = kept.company_id if kept else _named(found)
    if company_id is None:
        return None
    company = session.get(Company, company_id)
    if company is not None and company.tenant_id == tenant_id:
        return company
    # Nobody is told whose it is.
    told = "The customer is not of a company of yours."
    raise Refused(Complaint("company_id", "" if kept else found.company_id, told))


def _named(found: FoundCustomer) -> UUID | None:
    if not found.company_id:
        return None
    try:
        return UUID(found.company_id)
    except ValueError:
        told = "The company_id in its metadata is no id of a company."
        raise Refused(Complaint("company_id", found.company_id, told)) from None


def own_customer(session: Session, found: FoundCustomer, company: Company) -> ProviderCustomer:
    """Return the company's customer row, which is this customer's from now on.

    Raises:
        Refused: the company is another customer there.
    """
    customer = customer_of(session, company.id, found.provider)
    if customer is None:
        customer = ProviderCustomer(
            id=new_id(), company_id=company.id, provider=found.provider, imported=None
        )
        session.add(customer)
    else:
        # Somebody may be making the company's first customer at the provider just now.
        customer = locks.lock_existing(session, ProviderCustomer, customer.id)
    if customer.provider_id not in (None, found.provider_id):
        told = "The company named in its metadata is another customer at the provider already."
        raise Refused(Complaint("company_id", found.company_id, told))
    customer.provider_id = found.provider_id
    session.flush()
    return customer


def _apply(
    company: Company, facts: dict[str, Any], customer: ProviderCustomer, *, is_new: bool
) -> bool:
    """Take over what the provider tells anew; return whether anything changed."""
    if is_new:
        return False
    before = customer.imported
    is_changed = False
    for name, value in facts.items():
        known = getattr(company, name)
        # Of a company that was here before it was imported, only what it lacks is filled in.
        is_told_anew = not known if before is None else before.get(name) != value
        if is_told_anew and known != value:
            setattr(company, name, value)
            is_changed = True
    return is_changed


def _take_method(
    session: Session,
    found: FoundCustomer,
    told: KeptMethod,
    user_id: UUID,
    outcome: Outcome,
    because: Cause,
) -> None:
    if told.type not in KEPT_BY[found.provider]:
        outcome.methods_skipped += 1
        return
    known = session.scalars(
        across_companies(
            select(PaymentMethod).where(PaymentMethod.provider_id == told.provider_id),
            because=BECAUSE,
        )
    ).one_or_none()
    if known is None:
        _keep_method(session, found, told, user_id, because)
        outcome.methods_made += 1
    elif known.company_id != session.info["company_id"]:
        reason = "The payment method is another company's here."
        raise Refused(Complaint("payment_method", told.provider_id, reason))
    elif known.is_active and _learn(known, told):
        note(session, known, what="updated", because=because.but("the provider has new data of it"))
        owe_restart(session, known)
        outcome.methods_updated += 1
    else:
        # As it was; or it was removed here, which the provider may yet have to hear of.
        outcome.methods_skipped += 1


def _keep_method(
    session: Session, found: FoundCustomer, told: KeptMethod, user_id: UUID, because: Cause
) -> None:
    method = PaymentMethod(
        id=new_id(),
        company_id=session.info["company_id"],
        user_id=user_id,
        type=MethodType(told.type),
        provider=found.provider,
        provider_id=told.provider_id,
        status=MethodStatus.ACTIVE,
        is_active=True,
        is_default=False,
    )
    _learn(method, told)
    session.add(method)
    session.flush()
    note(session, method, what="attached", because=because.but("the provider keeps it"))


def _learn(method: PaymentMethod, told: KeptMethod) -> bool:
    """Take over what the provider tells of a method; return whether any of it is new."""
    is_new = False
    for name in ("last_four", "brand", "exp_month", "exp_year", "fingerprint"):
        value = getattr(told, name)
        if getattr(method, name) != value:
            setattr(method, name, value)
            is_new = True
    return is_new


def _choose_default(
    session: Session, found: FoundCustomer, because: Cause, *, is_new: bool
) -> None:
    """Give a company without a default the provider's, else its newest that is there."""
    if has_default(session):
        return
    usable = select(PaymentMethod).where(PaymentMethod.is_active)
    named = session.scalars(usable.where(PaymentMethod.provider_id == found.default_method))
    chosen = (
        named.one_or_none()
        or session.scalars(usable.order_by(PaymentMethod.id.desc()).limit(1)).one_or_none()
    )
    if chosen is None:
        return
    why = "the provider's default" if chosen.provider_id == found.default_method else "the first"
    make_default(session, chosen, because=because.but(why))
    if not is_new:
        owe_restart(session, chosen)
