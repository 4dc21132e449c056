"""What a request may say, after PayPal's published OpenAPI; what is not done here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NUMBER = r"^((-?[0-9]+)|(-?([0-9]+)?[.][0-9]+))$"
MOMENT = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9]|3[0-1])[T,t]([0-1][0-9]|2[0-3]):[0-5][0-9]:"
    r"([0-5][0-9]|60)([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
ADDRESS = r"^[^@\s]+@[^@\s]+$"
CODE = r"^[0-9A-Z_]+$"
NAME = r"^[0-9a-zA-Z_-]+$"
LOCALE = r"^[a-z]{2}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?$"
URL = r"^[a-z][a-z0-9+.-]*://[^\s]+$"


Text22 = Annotated[str, StringConstraints(min_length=1, max_length=22)]
Text127 = Annotated[str, StringConstraints(min_length=1, max_length=127)]
Text128 = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Text255 = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Text256 = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Text300 = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Text2000 = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Code3 = Annotated[str, StringConstraints(min_length=3, max_length=3)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=NUMBER)]
Words = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Z_]+$")]
CustomerId = Annotated[str, StringConstraints(min_length=1, max_length=22, pattern=NAME)]
CustomerQuery = Annotated[str, StringConstraints(min_length=7, max_length=36, pattern=NAME)]
Email = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=ADDRESS)]
Locale = Annotated[str, StringConstraints(min_length=2, max_length=10, pattern=LOCALE)]
Moment = Annotated[str, StringConstraints(min_length=20, max_length=64, pattern=MOMENT)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=URL)]
VaultId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=NAME)]
Code255 = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=CODE)]
Fields = Annotated[str, StringConstraints(min_length=0, max_length=255, pattern=r"^[a-z_]*$")]
ShippingPreference = Literal["GET_FROM_FILE", "NO_SHIPPING", "SET_PROVIDED_ADDRESS"]
UserAction = Literal["CONTINUE", "PAY_NOW"]
CustomerType = Literal["CONSUMER", "BUSINESS"]
UsageType = Literal["MERCHANT", "PLATFORM"]
UsagePattern = Literal[
    "IMMEDIATE",
    "DEFERRED",
    "RECURRING_PREPAID",
    "RECURRING_POSTPAID",
    "THRESHOLD_PREPAID",
    "THRESHOLD_POSTPAID",
]


class Body(BaseModel):
    """A JSON object that says nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def said(self) -> dict[str, Any]:
        """Return what was given, without what was not."""
        return self.model_dump(exclude_none=True)


class Money(Body):
    """An amount."""

    currency_code: Code3
    value: Value


class PurchaseUnit(Body):
    """What is paid for."""

    amount: Money
    reference_id: Text256 | None = None
    description: Text127 | None = None
    custom_id: Text127 | None = None
    invoice_id: Text127 | None = None
    soft_descriptor: Text22 | None = None


class ExperienceContext(Body):
    """How the payer's pages look and where they lead back to."""

    brand_name: Text127 | None = None
    locale: Locale | None = None
    shipping_preference: ShippingPreference | None = None
    return_url: Url | None = None
    cancel_url: Url | None = None
    landing_page: Literal["LOGIN", "GUEST_CHECKOUT", "NO_PREFERENCE"] | None = None
    user_action: UserAction | None = None
    payment_method_preference: Literal["UNRESTRICTED", "IMMEDIATE_PAYMENT_REQUIRED"] | None = None


class ApplicationContext(Body):
    """The same, as older integrations say it."""

    brand_name: Text127 | None = None
    locale: Locale | None = None
    landing_page: Literal["LOGIN", "BILLING", "NO_PREFERENCE"] | None = None
    shipping_preference: ShippingPreference | None = None
    user_action: UserAction | None = None
    return_url: Url | None = None
    cancel_url: Url | None = None


class Customer(Body):
    """A customer by the id that PayPal or the merchant gave."""

    id: CustomerId | None = None


class VaultInstruction(Body):
    """Whether the payer's wallet is kept for later payments."""

    usage_type: UsageType
    store_in_vault: Literal["ON_SUCCESS"] | None = None
    description: Text128 | None = None
    usage_pattern: UsagePattern | None = None
    customer_type: CustomerType | None = None
    permit_multiple_payment_tokens: bool | None = None


class WalletAttributes(Body):
    """Whose wallet it is and what becomes of it."""

    customer: Customer | None = None
    vault: VaultInstruction | None = None


class Wallet(Body):
    """A payer's wallet: a vaulted one by `vault_id`, or one that the payer shall choose."""

    vault_id: VaultId | None = None
    email_address: Email | None = None
    attributes: WalletAttributes | None = None
    experience_context: ExperienceContext | None = None


class Token(Body):
    """A vaulted wallet by its token.

    The published OpenAPI knows BILLING_AGREEMENT only; the other two are in PayPal's guides.
    """

    id: VaultId
    type: Literal["BILLING_AGREEMENT", "PAYMENT_METHOD_TOKEN", "SETUP_TOKEN"]


class PaymentSource(Body):
    """What pays."""

    paypal: Wallet | None = None
    token: Token | None = None


class OrderRequest(Body):
    """Create an order."""

    intent: Literal["CAPTURE", "AUTHORIZE"]
    purchase_units: Annotated[list[PurchaseUnit], Field(min_length=1, max_length=10)]
    payment_source: PaymentSource | None = None
    application_context: ApplicationContext | None = None


class CaptureRequest(Body):
    """Capture an order."""

    payment_source: PaymentSource | None = None


class RefundRequest(Body):
    """Refund a capture."""

    amount: Money | None = None
    custom_id: Text127 | None = None
    invoice_id: Text127 | None = None
    note_to_payer: Text255 | None = None


class VaultContext(Body):
    """How the page looks on which a payer agrees, and where it leads back to."""

    brand_name: Text300 | None = None
    locale: Locale | None = None
    return_url: Url | None = None
    cancel_url: Url | None = None
    shipping_preference: ShippingPreference | None = None
    vault_instruction: Words | None = None


class VaultWallet(Body):
    """A wallet that is to be kept."""

    description: Text128 | None = None
    permit_multiple_payment_tokens: bool | None = None
    usage_type: UsageType | None = None
    usage_pattern: UsagePattern | None = None
    customer_type: CustomerType | None = None
    experience_context: VaultContext | None = None


class SetupSource(Body):
    """What is to be kept."""

    paypal: VaultWallet


class SetupTokenRequest(Body):
    """Create a setup token."""

    payment_source: SetupSource
    customer: Customer | None = None


class TokenSource(Body):
    """The setup token that becomes a payment token."""

    token: Token


class PaymentTokenRequest(Body):
    """Create a payment token."""

    payment_source: TokenSource
    customer: Customer | None = None


class Query(BaseModel):
    """Parameters after the question mark; they come as text."""

    model_config = ConfigDict(extra="forbid")


class TokenQuery(Query):
    """List a customer's payment tokens."""

    customer_id: CustomerQuery
    page_size: Annotated[int, Field(ge=1)] = 5
    page: Annotated[int, Field(ge=1)] = 1
    total_required: bool = False


class OrderQuery(Query):
    """Show an order."""

    fields: Fields | None = None


class Nothing(Query):
    """No parameters are taken."""


class Anything(BaseModel):
    """What is sent is not looked at."""


class Patch(Body):
    """One change of an order."""

    op: Literal["add", "remove", "replace"]
    path: str
    value: Any = None


class EventQuery(Query):
    """List events."""

    page_size: Annotated[int, Field(ge=1, le=300)] = 10
    start_time: Moment | None = None
    end_time: Moment | None = None
    transaction_id: str | None = None
    event_type: str | None = None
    page_token: Annotated[int, Field(ge=0)] = 0


class ResendRequest(Body):
    """Send an event again, to all webhooks where none is named."""

    webhook_ids: Annotated[list[str], Field(max_length=500)] | None = None


class TransactionQuery(Query):
    """Search the account's transactions."""

    start_date: Moment
    end_date: Moment
    transaction_id: Annotated[str, StringConstraints(min_length=17, max_length=19)] | None = None
    transaction_type: str | None = None
    transaction_status: Literal["D", "P", "S", "V"] | None = None
    transaction_currency: Code3 | None = None
    balance_affecting_records_only: Literal["Y", "N"] = "Y"
    fields: str = "transaction_info"
    page_size: Annotated[int, Field(ge=1, le=500)] = 100
    page: Annotated[int, Field(ge=1)] = 1


class DisputeQuery(Query):
    """List disputes."""

    start_time: Moment | None = None
    disputed_transaction_id: Text255 | None = None
    page_size: Annotated[int, Field(ge=1, le=50)] = 10
    next_page_token: Annotated[int, Field(ge=0)] = 0
    dispute_state: Text2000 | None = None
    update_time_before: Moment | None = None
    update_time_after: Moment | None = None


class Tracking(Body):
    """How something was sent."""

    carrier_name: Text255 | None = None
    carrier_name_other: Text2000 | None = None
    tracking_number: Text255 | None = None
    tracking_url: Url | None = None


class EvidenceInfo(Body):
    """What proves it."""

    tracking_info: list[Tracking] | None = None
    refund_ids: list[Text255] | None = None


class Evidence(Body):
    """One piece of evidence."""

    evidence_type: Code255
    evidence_info: EvidenceInfo | None = None
    notes: Text2000 | None = None
    item_id: Text255 | None = None


class EvidenceRequest(Body):
    """Provide evidence: the part `input` of a form, beside the files."""

    evidences: Annotated[list[Evidence], Field(min_length=1, max_length=100)]


class AcceptRequest(Body):
    """Accept a claim: the money goes back to the payer."""

    note: Text2000 | None = None
    accept_claim_reason: Code255 | None = None
    accept_claim_type: Literal["REFUND"] | None = None
