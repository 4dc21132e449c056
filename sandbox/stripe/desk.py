"""What only tests and people do at Stripe: refund, dispute, settle, authenticate."""

from __future__ import annotations

from urllib.parse import parse_qsl

from sandbox.standin.desk import Body
from sandbox.standin.desk import Desk as AnyDesk
from sandbox.standin.wire import Answer, Request
from sandbox.stripe import (
    banks,
    browser,
    confirmation,
    disputes,
    payment_intents,
    payment_methods,
    payouts,
    planting,
    refunds,
    subscriptions,
    three_d_secure,
)
from sandbox.stripe.book import PREFIXES, Book
from sandbox.stripe.call import Call
from sandbox.stripe.errors import InvalidRequest, Object, missing


def _refund(call: Call, body: Body) -> Object:
    """Refund as a person does in the dashboard; `status` other than succeeded where asked."""
    charge = refunds.charge_of(call, body)
    return refunds.made(call, body, charge, f"refund_{body.get('status', 'succeeded')}")


def _move_refund(call: Call, body: Body) -> Object:
    return refunds.move(call, call.book.get("refund", body["id"]), body.get("status", "succeeded"))


def _dispute(call: Call, body: Body) -> Object:
    """Open a dispute on a charge, or on an intent's latest charge."""
    charge_id = body.get("charge")
    if charge_id is None:
        intent = call.book.get("payment_intent", body.get("payment_intent", ""))
        charge_id = intent["latest_charge"]
    if charge_id is None:
        raise missing("charge", "", param="charge")
    reason = body.get("reason", "fraudulent")
    how = "inquiry" if reason == "inquiry" else f"dispute:{reason}"
    return disputes.opened(call, call.book.get("charge", charge_id), how, body.get("amount"))


def _move_dispute(call: Call, body: Body) -> Object:
    dispute, status = call.book.get("dispute", body["id"]), body.get("status", "lost")
    if status in disputes.OPEN:
        return disputes.move(call, dispute, status)
    if status not in disputes.CLOSED:
        raise InvalidRequest(f"A dispute has no status {status}.", param="status")
    return disputes.end(call, dispute, status, won_back=body.get("won_back", 0))


def _settle(call: Call, body: Body) -> Object:
    """End an intent's `processing`: outcome succeeded or failed, or what its method's name says."""
    intent = call.book.get("payment_intent", body["id"])
    if intent["status"] != "processing":
        raise InvalidRequest(f"The intent is {intent['status']}, not processing.")
    outcomes = {None: None, "succeeded": True, "failed": False}
    return confirmation.released(call, intent, is_success=outcomes[body.get("outcome")])


def _settle_due(call: Call, _: Body) -> Object:
    """End the debits whose day has come."""
    ended = [confirmation.released(call, intent, is_success=None) for intent in banks.due(call)]
    return {"settled": [intent["id"] for intent in ended]}


def _renew(call: Call, body: Body) -> Object:
    return payment_methods.renew(call, body, body["id"])


def _move_subscription(call: Call, body: Body) -> Object:
    subscription = call.book.get("subscription", body["id"])
    return subscriptions.moved(call, subscription, body.get("status", "past_due"))


def _confirm(call: Call, body: Body) -> Object:
    """Confirm as the customer's browser does; it knows the client secret."""
    call.client_secret = body.get("client_secret", "")
    params = {"return_url": "https://example.test/back"} | {
        name: body[name] for name in ("payment_method", "return_url") if name in body
    }
    return payment_intents.confirm(call, params, body["id"])


class Desk(AnyDesk):
    """Answers `/sandbox/…` of the stand-in for Stripe."""

    book: Book
    deeds = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        ("POST", "disputes"): _dispute,
        ("POST", "disputes/*"): _move_dispute,
        ("POST", "debits"): _settle_due,
        ("POST", "objects/*"): planting.alter,
        ("POST", "payment_intents/*"): _settle,
        ("POST", "payment_methods/*"): _renew,
        ("POST", "payment_intents/*/confirm"): _confirm,
        ("POST", "payouts"): payouts.made,
        ("POST", "refunds"): _refund,
        ("POST", "refunds/*"): _move_refund,
        ("POST", "subscriptions/*"): _move_subscription,
    }

    def __call__(self, request: Request) -> Answer:
        """Answer one request; when the clock goes on, the bank answers what is due."""
        answer = super().__call__(request)
        if (request.method, request.path) == ("POST", "/sandbox/clock"):
            self.done(request, _settle_due, {})
        return answer

    def call(self, request: Request) -> Call:
        """Return a Call that no API request caused."""
        return Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + request.headers.get("host", "127.0.0.1"),
            endpoints=self.deliveries.endpoints,
        )

    def page(self, request: Request, path: str) -> Answer | None:
        """Answer the bank's page, and what a customer's browser has of Stripe."""
        if request.method == "GET" and (found := browser.part(path)) is not None:
            return found
        if not path.startswith("3ds/"):
            return None
        intent_id = path.removeprefix("3ds/")
        if request.method == "GET":
            with self.book.lock:
                return three_d_secure.page(self.book.get("payment_intent", intent_id))
        outcome = dict(parse_qsl(request.body.decode())).get("outcome")
        done = self.done(
            request,
            lambda call, _: three_d_secure.finished(call, intent_id, is_success=outcome != "fail"),
            {},
        )
        return three_d_secure.back(done)

    def charges(self, transaction_id: str | None) -> list[Object]:
        """Return the charges, of one transaction of ours where given, oldest first."""
        return [
            charge
            for charge in self.book.newest_first("charge")
            if transaction_id in (None, charge["metadata"].get("transaction_id"))
        ][::-1]

    def whole_book(self) -> Object:
        """Return every object, `by_transaction` and `totals` by currency."""
        kinds = sorted(PREFIXES)
        shown: Object = {f"{kind}s": list(self.book.newest_first(kind))[::-1] for kind in kinds}
        shown |= {"by_transaction": {}, "totals": {}}
        for charge in shown["charges"]:
            transaction = charge["metadata"].get("transaction_id", "")
            shown["by_transaction"].setdefault(transaction, []).append(charge)
            totals = shown["totals"].setdefault(
                charge["currency"], {"charges": 0, "charged": 0, "refunded": 0}
            )
            totals["charges"] += charge["status"] == "succeeded"
            totals["charged"] += charge["amount_captured"]
            totals["refunded"] += charge["amount_refunded"]
        return shown
