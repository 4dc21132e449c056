"""The company as a provider's customer: made once, when it is first needed."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.clock import now
from models.methods import ProviderCustomer, customer_of
from models.tenants import Company
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import OutcomeUnknown, Rejected

# The company's name has changed since the key was used.
KEY_REUSED = "idempotency_error"
SERVER_ERROR = 500


def customer_at(company_id: UUID | None, provider: str) -> str:
    """Return the company's customer id at `provider`, creating the customer if need be.

    The row is committed before the call and names its idempotency key, so two workers that race
    get the same customer.

    Raises:
        GatewayError: the provider could not be asked; nothing is lost by asking again.
    """
    if company_id is None:
        raise ValueError("a charge is always some company's")
    row = _row(company_id, provider)
    if row.provider_id:
        return row.provider_id
    company = in_transaction(lambda session: session.get_one(Company, company_id), company_id)
    create = partial(
        gateway_for(provider).create_customer,
        company_id=company_id,
        name=company.name,
        email=company.email,
    )
    key = f"customer-{row.id}"
    try:
        provider_id = create(key=key)
    except (OutcomeUnknown, Rejected) as error:
        if error.code != KEY_REUSED and (error.http_status or 0) < SERVER_ERROR:
            raise
        # The key tells for a day what it has saved, an error too, and so long nobody could pay.
        # A customer too many costs nothing; a charge is never sent under another key.
        provider_id = create(key=f"{key}-{now():%d%H%M}")
    return in_transaction(_keep, company_id, row.id, provider_id)


def _row(company_id: UUID, provider: str) -> ProviderCustomer:
    def find_or_add(session: Session) -> ProviderCustomer:
        found = customer_of(session, company_id, provider)
        if found is None:
            found = ProviderCustomer(company_id=company_id, provider=provider)
            session.add(found)
        return found

    try:
        return in_transaction(find_or_add, company_id)
    except IntegrityError:
        # Another worker added it in between.
        return in_transaction(find_or_add, company_id)


def _keep(session: Session, row_id: UUID, provider_id: str) -> str:
    """Keep the id, unless another worker was first; return what is kept."""
    row = session.get_one(ProviderCustomer, row_id, with_for_update=True)
    row.provider_id = row.provider_id or provider_id
    return row.provider_id
