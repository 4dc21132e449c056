"""What only tests and people do at PayPal: approve, settle, refund, reverse."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl

from sandbox.paypal import (
    amounts,
    approval,
    captures,
    disputes,
    payers,
    planting,
    refunds,
    vault,
)
from sandbox.paypal.book import Book, shown
from sandbox.paypal.call import Call
from sandbox.paypal.certificates import PEM
from sandbox.paypal.deliveries import Deliveries
from sandbox.paypal.errors import Object
from sandbox.paypal.payers import fate_of
from sandbox.standin.desk import Body
from sandbox.standin.desk import Desk as AnyDesk
from sandbox.standin.wire import Answer, Request

OUTCOMES = {
    "COMPLETED": "succeeded",
    "DECLINED": "failed",
    "PARTIALLY_REFUNDED": "succeeded",
    "PENDING": "pending",
    "REFUNDED": "succeeded",
}


def _settle(call: Call, body: Body) -> Object:
    """End a pending capture: outcome succeeded or failed."""
    record = call.book.get("capture", body["id"])
    return shown(captures.settle(call, record, is_completed=body.get("outcome") != "failed"))


def _refund(call: Call, body: Body) -> Object:
    """Refund as a person does on PayPal's site; amount is text, the rest of it by default."""
    capture = call.book.get("capture", body["capture"])
    currency = capture["shown"]["amount"]["currency_code"]
    said: Body = {"note_to_payer": body.get("note", "Refunded by hand")}
    if "amount" in body:
        said["amount"] = {"currency_code": currency, "value": body["amount"]}
    status = body.get("status", "completed").upper()
    return shown(refunds.made(call, capture, said, status=status))


def _move_refund(call: Call, body: Body) -> Object:
    refund = call.book.get("refund", body["id"])
    return shown(refunds.move(call, refund, body.get("status", "completed").upper()))


def _dispute(call: Call, body: Body) -> Object:
    """Open a dispute on a capture: a chargeback, or an inquiry where `stage` says so.

    `amount` is text, what is left of the capture by default.
    """
    capture = call.book.get("capture", body["capture"])
    return shown(
        disputes.opened(
            call,
            capture,
            reason=body.get("reason", "MERCHANDISE_OR_SERVICE_NOT_RECEIVED"),
            stage=body.get("stage", disputes.CHARGEBACK),
            value=body.get("amount"),
        )
    )


def _end_dispute(call: Call, body: Body) -> Object:
    """Decide a dispute: `status` is won or lost."""
    outcome = disputes.WON if body.get("status") == "won" else disputes.LOST
    return shown(disputes.decide(call, call.book.get("dispute", body["id"]), outcome))


def _reverse(call: Call, body: Body) -> Object:
    """Have PayPal take back what is left of a capture."""
    return shown(refunds.reverse(call, call.book.get("capture", body["id"])))


def _keep_token(call: Call, body: Body) -> Object:
    """Keep the wallet of `payer` for `customer`, as if the payer had agreed."""
    email = body.get("payer", payers.PAYER)
    return shown(vault.keep(call, email, body.get("customer"), usage_type="MERCHANT"))


def _change_token(call: Call, body: Body) -> Object:
    """Decide how payments with a payment token end from now on: `fate` is a payer's name."""
    token = call.book.get("payment_token", body["id"])
    call.book.note(token["id"], **fate_of(body["fate"]).traits())
    return shown(token)


class Desk(AnyDesk):
    """Answers `/sandbox/…` of the stand-in for PayPal."""

    book: Book
    deliveries: Deliveries
    deeds = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        ("POST", "approve/*"): approval.finished,
        ("POST", "captures"): planting.plant,
        ("POST", "captures/*"): _settle,
        ("POST", "captures/*/reverse"): _reverse,
        ("POST", "dates"): planting.date,
        ("POST", "disputes"): _dispute,
        ("POST", "disputes/*"): _end_dispute,
        ("POST", "payment_tokens"): _keep_token,
        ("POST", "payment_tokens/*"): _change_token,
        ("POST", "refunds"): _refund,
        ("POST", "refunds/*"): _move_refund,
        ("POST", "reporting"): planting.report,
    }

    def call(self, request: Request) -> Call:
        """Return a Call that no API request caused."""
        return Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + request.headers.get("host", "127.0.0.1"),
            is_whole=True,
            endpoints=self.deliveries.endpoints,
        )

    def page(self, request: Request, path: str) -> Answer | None:
        """Answer the payer's page and the certificates."""
        signer = self.deliveries.signer
        if path == "root.pem":
            return Answer(200, signer.root, content_type=PEM)
        if path.startswith("certs/"):
            return signer.answer(path.removeprefix("certs/").removesuffix(".pem"))
        kind = request.headers.get("content-type", "")
        if not path.startswith("approve/") or kind.startswith("application/json"):
            return None
        object_id = path.removeprefix("approve/")
        if request.method == "GET":
            with self.book.lock:
                return approval.page(self.call(request), object_id)
        body = dict(parse_qsl(request.body.decode())) | {"id": object_id}
        done = self.done(request, approval.finished, body)
        return approval.back(self.call(request), done)

    def charges(self, transaction_id: str | None) -> list[Object]:
        """Return the captures in the words of the other stand-ins, oldest first.

        A transaction of ours is what the order's `invoice_id` or its `custom_id` names: the one is
        told in the `metadata`, where there is one, the other as the `transaction_id`.
        Amounts are in hundredths, also where a currency has no decimals but for JPY.
        """
        charges = [self._charge(one) for one in self.book.newest_first("capture")][::-1]
        return [
            one
            for one in charges
            if transaction_id in (None, one["transaction_id"], one["metadata"]["transaction_id"])
        ]

    def whole_book(self) -> Object:
        """Return every object, `by_transaction` and `totals` by currency."""
        whole: Object = {
            f"{kind}s": [one["shown"] for one in self.book.newest_first(kind)][::-1]
            for kind in sorted(self.book.indexed)
        }
        whole |= {"by_transaction": {}, "totals": {}, "charges": self.charges(None)}
        for charge in whole["charges"]:
            ours = charge["metadata"]["transaction_id"] or ""
            whole["by_transaction"].setdefault(ours, []).append(charge)
            totals = whole["totals"].setdefault(
                charge["currency"], {"charges": 0, "charged": 0, "refunded": 0}
            )
            totals["charges"] += charge["status"] == "succeeded"
            totals["charged"] += charge["amount_captured"]
            totals["refunded"] += charge["amount_refunded"]
        return whole

    def _charge(self, record: Object) -> Object:
        capture = shown(record)
        currency = capture["amount"]["currency_code"]
        status = OUTCOMES[capture["status"]]
        reversals = [
            amounts.of(shown(one)["amount"])
            for one in self.book.newest_first("refund", capture=record["id"])
            if one["is_reversal"]
        ]
        taken_back = sum(reversals, Decimal(0))
        given_back = Decimal(record["refunded"]) - taken_back
        amount = _minor(amounts.of(capture["amount"]), currency)
        return {
            "id": record["id"],
            "order": record["order"],
            "status": status,
            "transaction_id": record["custom_id"],
            "metadata": {"transaction_id": record["invoice_id"] or record["custom_id"]},
            "currency": currency.lower(),
            "amount": amount,
            "amount_captured": amount if status == "succeeded" else 0,
            "amount_refunded": _minor(given_back, currency),
            "amount_reversed": _minor(taken_back, currency),
            "is_disputed": record["disputed"] is not None,
        }


def _minor(amount: Decimal, currency: str) -> int:
    return int(amount if currency == "JPY" else amount * 100)
