"""The OpenAPI 3.1 document: what the marks on a view mean to whoever reads it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.operation import Operation
from flask_openapi3.models.parameter import Parameter
from flask_openapi3.models.request_body import RequestBody
from flask_openapi3.openapi import OpenAPI
from flask_openapi3.utils import parse_rule

if TYPE_CHECKING:
    from web.auth import Guard

BEARER = "bearer"
SECURITY_SCHEMES: dict[str, Any] = {
    BEARER: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
}
INFO = Info(
    title="Paybeat",
    version="1",
    description="Payments and billing for multi-tenant SaaS. Errors are problem+json (RFC 9457).",
)
IDEMPOTENT = "__idempotent__"
WAITS = "__waits__"

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": ["string", "null"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_PROBLEM_ANSWER = {
    "description": "What went wrong",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}

_RECEIVED: dict[str, Any] = {
    "200": {
        "description": "Kept, or kept before",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "title": "Received",
                    "required": ["received"],
                    "properties": {"received": {"const": True}},
                }
            }
        },
    }
}


def _webhook(
    provider: str,
    description: str,
    headers: dict[str, str],
    schema: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the description of a webhook's door."""
    return {
        "post": {
            "summary": f"Take a signed event from {provider}.",
            "description": description,
            "operationId": f"receive_{provider.lower()}",
            "tags": ["webhooks"],
            "parameters": [
                {
                    "name": name,
                    "in": "header",
                    "required": True,
                    "description": told,
                    "schema": {"type": "string"},
                }
                for name, told in headers.items()
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": schema or {"type": "object", "title": f"{provider}Event"}
                    }
                },
            },
            "responses": _RECEIVED,
        }
    }


# The webhooks' doors are plain Flask: what arrives is kept as bytes, and one is read as JSON after
# it has been checked.
_WEBHOOKS = {
    "stripe": _webhook(
        "Stripe",
        "400 if it is not signed by Stripe or is no event; a copy changes nothing.",
        {"Stripe-Signature": "`t=…,v1=…`, within five minutes."},
    ),
    "sendgrid": _webhook(
        "SendGrid",
        "An array of events. 400 if SendGrid did not sign it; a copy of an event changes nothing. "
        "404 where mail does not go through SendGrid.",
        {
            "X-Twilio-Email-Event-Webhook-Signature": "ECDSA over time and body, in base64.",
            "X-Twilio-Email-Event-Webhook-Timestamp": "When it was signed, in seconds since 1970.",
        },
        schema={"type": "array", "title": "SendGridEvents", "items": {"type": "object"}},
    ),
    "paypal": _webhook(
        "PayPal",
        "400 if it can be no event of PayPal's; a copy changes nothing. A worker checks the "
        "signature before anybody acts. 404 where PayPal is not set up.",
        {
            "PAYPAL-TRANSMISSION-ID": "Which delivery it is.",
            "PAYPAL-TRANSMISSION-TIME": "When it was sent, not of the future.",
            "PAYPAL-TRANSMISSION-SIG": "The signature, in base64.",
            "PAYPAL-CERT-URL": "Where its certificate is, at a host of paypal.com.",
            "PAYPAL-AUTH-ALGO": "`SHA256withRSA`.",
        },
    ),
}


def _header(name: str, description: str, **schema: Any) -> Parameter:
    return Parameter.model_validate(
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": {"type": "string", **schema},
        }
    )


def describe(
    routes: APIBlueprint,
    rule: str,
    method: str,
    view: Callable[..., Any],
    guard: Guard | None,
    *,
    is_body_optional: bool = False,
) -> None:
    """Add to an operation what its view's marks say."""
    item = routes.paths.get(parse_rule(rule, url_prefix=routes.url_prefix))
    operation: Operation | None = getattr(item, method.lower(), None)
    if operation is None:
        return
    if is_body_optional and isinstance(operation.requestBody, RequestBody):
        operation.requestBody.required = False
    headers: list[Parameter] = []
    if guard is not None and not guard.is_public:
        operation.security = [{BEARER: []}]
        headers.append(
            _header("X-Company-Id", "The company that an operator acts for.", format="uuid")
        )
        if guard.permission:
            needs = f"Needs the permission `{guard.permission}`."
            operation.description = "\n\n".join(filter(None, [operation.description, needs]))
    if hasattr(view, IDEMPOTENT):
        headers.append(
            _header(
                "Idempotency-Key",
                "The same key and body give the same answer for 24 hours.",
                maxLength=255,
            )
        )
    if hasattr(view, WAITS):
        headers.append(_header("Prefer", "`wait=N` (0 to 20 seconds) or `respond-async`."))
    if headers:
        operation.parameters = [*(operation.parameters or []), *headers]


def document(app: OpenAPI) -> dict[str, Any]:
    """Return the whole document; every operation may answer with a problem."""
    spec = app.api_doc
    schemas = spec["components"].setdefault("schemas", {})
    schemas.pop(app.validation_error_model.__name__, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    for provider, described in _WEBHOOKS.items():
        spec["paths"][f"/api/v1/webhooks/{provider}"] = deepcopy(described)
    for item in spec["paths"].values():
        for operation in item.values():
            answers = operation.setdefault("responses", {})
            answers.pop(app.validation_error_status, None)
            answers["default"] = _PROBLEM_ANSWER
    return spec
