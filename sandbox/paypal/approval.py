"""The payer's page: approve or cancel one order, or one wallet that is to be kept."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from sandbox.paypal import orders, payers, vault
from sandbox.paypal.call import Call
from sandbox.paypal.errors import ApiError, Object, refused
from sandbox.standin.desk import Body
from sandbox.standin.wire import Answer

HTML = "text/html; charset=utf-8"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PayPal sandbox</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="font-family: sans-serif; max-width: 30em; margin: 3em auto">
<h1>Pay with PayPal</h1><p>{text}</p>{form}</body></html>
"""
FORM = """<form method="post">
<p><label>Payer <input name="payer" type="email" value="{payer}"></label></p>
<button name="outcome" value="approve">Approve</button>
<button name="outcome" value="cancel">Cancel</button></form>
"""


def _found(call: Call, object_id: str) -> Object:
    try:
        return call.book.get("order", object_id)
    except ApiError:
        return call.book.get("setup_token", object_id)


def _is_waiting(record: Object) -> bool:
    waits = orders.APPROVABLE if record["object"] == "order" else {vault.WAITING}
    return record["shown"]["status"] in waits


def page(call: Call, object_id: str) -> Answer:
    """Return the page; what doesn't wait for its payer has no buttons."""
    record = _found(call, object_id)
    if record["object"] == "order":
        amount = record["shown"]["purchase_units"][0]["amount"]
        text = f"Pay {amount['value']} {amount['currency_code']}"
    else:
        text = "Keep your wallet for later payments"
    form = ""
    if _is_waiting(record):
        known = record["wallet"].get("email_address", payers.PAYER)
        text, form = f"{text}?", FORM.format(payer=escape(known))
    else:
        text = f"{text}: {record['shown']['status']}."
    return Answer(200, PAGE.format(text=escape(text), form=form).encode(), content_type=HTML)


def finished(call: Call, body: Body) -> Object:
    """End the payer's visit; the answer tells where the browser goes next."""
    record = _found(call, body["id"])
    if not _is_waiting(record):
        raise refused("ORDER_ALREADY_CAPTURED")
    context, is_approved = record["context"], body.get("outcome") != "cancel"
    if is_approved:
        email = body.get("payer") or record["wallet"].get("email_address") or payers.PAYER
        approve = orders.approved if record["object"] == "order" else vault.approved
        record = approve(call, record, email)
    return record | {"next": context.get("return_url" if is_approved else "cancel_url")}


def back(call: Call, done: Object) -> Answer:
    """Send the browser back to the shop, or say how it ended where there is no way back."""
    if not done["next"]:
        return page(call, done["id"])
    if done["object"] == "order":
        told = {"token": done["id"]}
        if done["email"]:
            told["PayerID"] = payers.payer_id(done["email"])
    else:
        told = {"approval_token_id": done["id"], "approval_session_id": done["id"]}
    join = "&" if "?" in done["next"] else "?"
    return Answer(303, b"", {"Location": f"{done['next']}{join}{urlencode(told)}"})
