"""PayPal's errors in their real shape: name, message, details with an issue each, debug id, links.

The texts are those of PayPal's published OpenAPI.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.standin.refusal import Refusal

Object = dict[str, Any]
"""A PayPal object as it goes over the wire."""

NAMES = {
    400: (
        "INVALID_REQUEST",
        "Request is not well-formed, syntactically incorrect, or violates schema.",
    ),
    401: (
        "AUTHENTICATION_FAILURE",
        (
            "Authentication failed due to missing authorization header, or invalid authentication "
            "credentials."
        ),
    ),
    403: ("NOT_AUTHORIZED", "Authorization failed due to insufficient permissions."),
    404: ("RESOURCE_NOT_FOUND", "The specified resource does not exist."),
    409: (
        "RESOURCE_CONFLICT",
        "The server has detected a conflict while processing this request.",
    ),
    415: (
        "UNSUPPORTED_MEDIA_TYPE",
        "The server does not support the request payload's media type.",
    ),
    422: (
        "UNPROCESSABLE_ENTITY",
        (
            "The requested action could not be performed, semantically incorrect, or failed "
            "business validation."
        ),
    ),
    429: ("RATE_LIMIT_REACHED", "Too many requests. Blocked due to rate limiting."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
}
ISSUES = {
    # What the request itself gets wrong.
    "INVALID_ARRAY_MAX_ITEMS": "The number of items in an array parameter is too large.",
    "INVALID_ARRAY_MIN_ITEMS": "The number of items in an array parameter is too small.",
    "INVALID_PARAMETER_SYNTAX": "The value of a field does not conform to the expected format.",
    "INVALID_PARAMETER_VALUE": "The value of a field is invalid.",
    "INVALID_STRING_LENGTH": "The value of a field is either too short or too long.",
    "MALFORMED_REQUEST_JSON": "The request JSON is not well formed.",
    "MISSING_REQUIRED_PARAMETER": "A required field / parameter is missing.",
    "NOT_SUPPORTED": "This field is not currently supported.",
    "PAYPAL_REQUEST_ID_REQUIRED": "A PayPal-Request-Id is required if you are trying to process "
    "payment for an Order. Please specify a PayPal-Request-Id or Create the Order without a "
    "'payment_source' specified.",
    # What stands in the way of a payment.
    "CANNOT_BE_ZERO_OR_NEGATIVE": "Must be greater than zero. If the currency supports decimals, "
    "only two decimal place precision is supported.",
    "DECIMALS_NOT_SUPPORTED": "Currency does not support decimals. Please refer to "
    "https://developer.paypal.com/docs/api/reference/currency-codes/ for more information.",
    "DECIMAL_PRECISION": "If the currency supports decimals, only two decimal place precision is "
    "supported.",
    "DUPLICATE_INVOICE_ID": "Duplicate Invoice ID detected. To avoid a potential duplicate "
    "transaction your account setting requires that Invoice Id be unique for each transaction.",
    "INVALID_CURRENCY_CODE": "Currency code is invalid or is not currently supported. Please refer "
    "https://developer.paypal.com/api/rest/reference/currency-codes/ for list of supported "
    "currency codes.",
    "INVALID_RESOURCE_ID": "Specified resource ID does not exist. Please check the resource ID and "
    "try again.",
    "MAX_VALUE_EXCEEDED": "Should be less than or equal to 999999999999999.99.",
    "ORDER_ALREADY_CAPTURED": "Order already captured. If 'intent=CAPTURE' only one capture per "
    "order is allowed.",
    "ORDER_NOT_APPROVED": "Payer has not yet approved the Order for payment. Please redirect the "
    "payer to the 'rel':'approve' url returned as part of the HATEOAS links within the Create "
    "Order call or provide a valid `payment_source` in the request.",
    "PREVIOUS_REQUEST_IN_PROGRESS": "A previous request on this resource is currently in progress. "
    "Please wait for sometime and try again. It is best to space out the initial and the "
    "subsequent request(s) to avoid receiving this error.",
    "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE": "`intent=AUTHORIZE` is not supported for the "
    "specified payment_source. Only `intent=CAPTURE` is supported.",
    "PAYMENT_TYPE_NOT_SUPPORTED_FOR_INTENT": "Provided payment type not supported for order "
    "intent. Payment authorizations are supported only for order with `intent=AUTHORIZE` and "
    "payment captures are supported only for order with `intent=CAPTURE`.",
    "NOT_PATCHABLE": "Cannot be patched.",
    "ORDER_ALREADY_COMPLETED": "The order cannot be patched after it is completed.",
    "SETUP_TOKEN_NOT_APPROVED": "The payer has not yet approved the setup token.",
    # What the search for transactions refuses.
    "INVALID_DATE_RANGE": "The range of dates is greater than 31 days, or ends before it starts.",
    # What stands in the way of a refund.
    "CAPTURE_FULLY_REFUNDED": "The capture has already been fully refunded",
    "PENDING_CAPTURE": "Cannot initiate a refund as the capture is pending. Capture is typically "
    "pending when the payer has funded the transaction using e-check/bank funded.",
    "REFUND_AMOUNT_EXCEEDED": "The refund amount must be less than or equal to the capture amount "
    "that has not yet been refunded.",
    "REFUND_CAPTURE_CURRENCY_MISMATCH": "Refund must be in the same currency as the capture",
    "REFUND_NOT_ALLOWED": "Capture cannot be refunded.",
    "REFUND_NOT_PERMITTED_DUE_TO_CHARGEBACK": "Refunds are not allowed on this capture due to a "
    "chargeback on the card or bank. Please contact the payee to resolve the chargeback.",
    # What a dispute does not allow.
    "ACTION_NOT_ALLOWED_IN_CURRENT_DISPUTE_STATE": "The requested action is not allowed in the "
    "current state of the dispute.",
    "TRANSACTION_DISPUTED": "Partial refunds cannot be offered at this time because there is an "
    "open case on this transaction. Visit the PayPal Resolution Center to review this case.",
}
DECLINES = {
    "CARD_EXPIRED": "The card is expired",
    "COMPLIANCE_VIOLATION": "Transaction cannot be processed due to a possible compliance "
    "violation. To get more information about the transaction, call Customer Support.",
    "DO_NOT_HONOR": "The payment was declined by the bank without a reason.",
    "INSTRUMENT_DECLINED": "The instrument presented  was either declined by the processor or "
    "bank, or it can't be used for this payment.",
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED": "You have exceeded the maximum number of payment "
    "attempts.",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED": "The payer account cannot be used for this transaction.",
    "PAYER_ACTION_REQUIRED": "Transaction cannot complete successfully, instruct the buyer to "
    "return to PayPal.",
    "PAYER_CANNOT_PAY": "Combination of payer and payee settings mean that this buyer cannot pay "
    "this seller.",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING": "Transaction failed. Redirect the payer to select "
    "another funding source.",
    "TOKEN_ID_NOT_FOUND": "Specified token was not found. Verify the token and try the request "
    "again.",
    "TRANSACTION_REFUSED": "The request was refused.",
}
DOCS = "https://developer.paypal.com/api/rest/"


class ApiError(Refusal):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        *,
        details: Iterable[Object] = (),
        links: Iterable[Object] = (),
        name: str | None = None,
        message: str | None = None,
    ) -> None:
        self.details = list(details)
        self.links = list(links)
        usual_name, usual_message = NAMES[status]
        self.name = name or usual_name
        self.message = message or usual_message
        issues = ", ".join(detail["issue"] for detail in self.details)
        super().__init__(f"{self.name}: {issues or self.message}", status=status)

    def body(self, debug_id: str) -> Object:
        """Return the JSON that goes over the wire."""
        about = {"href": f"{DOCS}#error-{self.name}", "rel": "information_link", "method": "GET"}
        told: Object = {"name": self.name, "message": self.message, "debug_id": debug_id}
        if self.details:
            told["details"] = self.details
        return told | {"links": [*self.links, about]}


def refused(
    issue: str,
    *,
    status: int = 422,
    field: str | None = None,
    value: str | None = None,
    location: str | None = None,
    links: Iterable[Object] = (),
) -> ApiError:
    """Return the error of one issue."""
    return ApiError(
        status, details=[detail(issue, field=field, value=value, location=location)], links=links
    )


def detail(
    issue: str,
    *,
    field: str | None = None,
    value: str | None = None,
    location: str | None = None,
) -> Object:
    """Return one entry of `details`."""
    told = {
        "field": field,
        "value": value,
        "location": location,
        "issue": issue,
        "description": ISSUES.get(issue) or DECLINES.get(issue) or "The payment was refused.",
    }
    return {name: text for name, text in told.items() if text is not None}


def missing(*, field: str = "id", value: str = "") -> ApiError:
    """Return PayPal's answer to an id that it doesn't know."""
    return refused("INVALID_RESOURCE_ID", status=404, field=field, value=value, location="path")


def request_id_reused() -> ApiError:
    """Return the answer to a PayPal-Request-Id that was used with another request."""
    return ApiError(
        400,
        name="DUPLICATE_REQUEST_ID",
        message="The value of PayPal-Request-Id header has already been used",
    )


def in_progress(_key: str = "") -> ApiError:
    """Return the answer to a second request with a PayPal-Request-Id that is being executed."""
    return refused("PREVIOUS_REQUEST_IN_PROGRESS", status=409)


def mocked(code: str) -> ApiError:
    """Return what the header PayPal-Mock-Response asked for."""
    for status, (name, _) in NAMES.items():
        if name == code:
            return ApiError(status)
    return refused(code)


def debug_id() -> str:
    """Return an id that PayPal's support would ask for."""
    return secrets.token_hex(7)[:13]


def link(base_url: str, path: str, rel: str, method: str = "GET") -> Object:
    """Return one HATEOAS link."""
    return {"href": base_url + path, "rel": rel, "method": method}


TOLD_BY_PYDANTIC: Mapping[str, str] = {
    "extra_forbidden": "NOT_SUPPORTED",
    "missing": "MISSING_REQUIRED_PARAMETER",
    "string_too_long": "INVALID_STRING_LENGTH",
    "string_too_short": "INVALID_STRING_LENGTH",
    "too_long": "INVALID_ARRAY_MAX_ITEMS",
    "too_short": "INVALID_ARRAY_MIN_ITEMS",
    "literal_error": "INVALID_PARAMETER_VALUE",
}


def invalid(wrong: Iterable[Mapping[str, Any]], *, location: str = "body") -> ApiError:
    """Return the 400 of what pydantic found wrong."""
    details = []
    for one in wrong:
        value = one["input"] if isinstance(one["input"], str) else None
        issue = TOLD_BY_PYDANTIC.get(one["type"], "INVALID_PARAMETER_SYNTAX")
        field = "/" + "/".join(str(part) for part in one["loc"])
        details.append(
            detail(
                issue,
                field=field if location == "body" else field[1:],
                value=None if one["type"] == "missing" else value,
                location=location,
            )
        )
    return ApiError(400, details=details)
