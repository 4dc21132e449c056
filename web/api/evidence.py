"""The evidence that a customer's bank takes, as the provider names and bounds it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import StringConstraints, model_validator

from web.routes import Input

# The provider's own bound on all fields together.
MAX_CHARACTERS = 150_000

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
File = Annotated[str, StringConstraints(pattern=r"^file_[A-Za-z0-9]{1,90}$")]


class Evidence(Input):
    """What speaks for the charge. A file is named by the id that the provider gave it."""

    access_activity_log: Words | None = None
    billing_address: Line | None = None
    cancellation_policy: File | None = None
    cancellation_policy_disclosure: Words | None = None
    cancellation_rebuttal: Words | None = None
    customer_communication: File | None = None
    customer_email_address: Line | None = None
    customer_name: Line | None = None
    customer_purchase_ip: Line | None = None
    customer_signature: File | None = None
    duplicate_charge_documentation: File | None = None
    duplicate_charge_explanation: Words | None = None
    duplicate_charge_id: Line | None = None
    product_description: Words | None = None
    receipt: File | None = None
    refund_policy: File | None = None
    refund_policy_disclosure: Words | None = None
    refund_refusal_explanation: Words | None = None
    service_date: Line | None = None
    service_documentation: File | None = None
    shipping_address: Line | None = None
    shipping_carrier: Line | None = None
    shipping_date: Line | None = None
    shipping_documentation: File | None = None
    shipping_tracking_number: Line | None = None
    uncategorized_file: File | None = None
    uncategorized_text: Words | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        total = sum(len(value) for _, value in self if value)
        if total > MAX_CHARACTERS:
            raise ValueError(f"has {total} characters, which is more than {MAX_CHARACTERS}")
        return self
