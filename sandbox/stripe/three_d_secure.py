"""The bank's page: complete or fail the authentication of one intent."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from sandbox.standin.wire import Answer
from sandbox.stripe import confirmation
from sandbox.stripe.call import Call
from sandbox.stripe.currencies import shown
from sandbox.stripe.errors import Object, wrong_state

HTML = "text/html; charset=utf-8"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>3-D Secure</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="font-family: sans-serif; max-width: 30em; margin: 3em auto">
<h1>Your bank asks</h1><p>{text}</p>{form}</body></html>
"""
FORM = """<form method="post">
<button name="outcome" value="complete">Complete</button>
<button name="outcome" value="fail">Fail</button></form>
"""


def page(intent: Object) -> Answer:
    """Return the page; an intent that doesn't wait for it has no buttons."""
    amount = f"{shown(intent['amount'], intent['currency'])} {intent['currency'].upper()}"
    if intent["status"] == "requires_action":
        text, form = f"Authorize a payment of {amount}?", FORM
    else:
        text, form = f"The payment of {amount} is {intent['status']}.", ""
    return Answer(200, PAGE.format(text=escape(text), form=form).encode(), content_type=HTML)


def finished(call: Call, intent_id: str, *, is_success: bool) -> Object:
    """End the authentication; the answer tells where the browser goes next."""
    intent = call.book.get("payment_intent", intent_id)
    if intent["status"] != "requires_action":
        raise wrong_state(f"The intent is {intent['status']}, not requires_action.")
    return_url = intent["next_action"]["redirect_to_url"]["return_url"]
    intent = confirmation.authenticated(call, intent, is_success=is_success)
    return intent | {"return_url": return_url}


def back(done: Object) -> Answer:
    """Send the browser back to the shop, or say how it ended where there is no way back."""
    if not done["return_url"]:
        return page(done)
    status = "succeeded" if done["status"] in ("succeeded", "requires_capture") else "failed"
    told = {
        "payment_intent": done["id"],
        "payment_intent_client_secret": done["client_secret"],
        "redirect_status": status,
    }
    join = "&" if "?" in done["return_url"] else "?"
    return Answer(303, b"", {"Location": f"{done['return_url']}{join}{urlencode(told)}"})
