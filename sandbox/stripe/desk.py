"""The side that only tests and people use, `/sandbox/…`: the book, faults, webhooks, the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sandbox.stripe import confirmation, disputes, payment_intents, refunds, three_d_secure
from sandbox.stripe.book import Book
from sandbox.stripe.call import Call
from sandbox.stripe.deliveries import Deliveries, Rules
from sandbox.stripe.errors import ApiError, InvalidRequest, Object, missing
from sandbox.stripe.faults import Faults
from sandbox.stripe.wire import Answer, Request

KINDS = (
    "balance_transaction",
    "charge",
    "customer",
    "dispute",
    "event",
    "payment_intent",
    "payment_method",
    "refund",
)
Body = dict[str, Any]
Deed = Callable[[Call, Body], Object]


class Desk:
    """Answers `/sandbox/…`."""

    def __init__(self, book: Book, faults: Faults, deliveries: Deliveries) -> None:
        self.book = book
        self.faults = faults
        self.deliveries = deliveries
        self._plain: dict[tuple[str, str], Callable[[Body], Any]] = {
            ("GET", "health"): lambda _: {"status": "ok"},
            ("GET", "book"): self._whole_book,
            ("GET", "charges"): self._charges,
            ("GET", "clock"): lambda _: self._clock(),
            ("POST", "clock"): self._advance,
            ("GET", "faults"): lambda _: {"faults": faults.shown()},
            ("POST", "faults"): self._fault,
            ("DELETE", "faults"): lambda _: self._clear_faults(),
            ("GET", "webhooks"): lambda _: deliveries.state() | {"log": list(deliveries.log)},
            ("POST", "webhooks"): self._rules,
            ("POST", "webhooks/flush"): lambda _: {"sent": deliveries.flush()},
            ("POST", "webhooks/resend"): self._resend,
            ("POST", "reset"): lambda _: self._reset(),
        }
        self._deeds: dict[tuple[str, str], Deed] = {
            ("POST", "disputes"): _dispute,
            ("POST", "disputes/*"): _end_dispute,
            ("POST", "payment_intents/*"): _settle,
            ("POST", "payment_intents/*/confirm"): _confirm,
            ("POST", "refunds"): _refund,
            ("POST", "refunds/*"): _move_refund,
        }

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        path = request.path.removeprefix("/sandbox").strip("/")
        try:
            if path.startswith("3ds/"):
                return self._authenticate(request, path.removeprefix("3ds/"))
            return Answer(200, orjson.dumps(self._answer(request, path)))
        except ApiError as error:
            return Answer(error.status, orjson.dumps(error.body()))
        except (KeyError, TypeError) as error:
            wrong = InvalidRequest(f"That is not what {path} takes: {error!r}")
            return Answer(wrong.status, orjson.dumps(wrong.body()))

    def _answer(self, request: Request, path: str) -> Any:
        body = _body(request)
        if plain := self._plain.get((request.method, path)):
            return plain(body)
        noun, _, rest = path.partition("/")
        object_id, _, verb = rest.partition("/")
        shape = noun + ("/*" if object_id else "") + (f"/{verb}" if verb else "")
        deed = self._deeds.get((request.method, shape))
        if deed is None:
            raise InvalidRequest(f"The sandbox has no {request.method} {path}", status=404)
        return self._done(request, deed, body | ({"id": object_id} if object_id else {}))

    def _done(self, request: Request, deed: Deed, body: Body) -> Object:
        """Do a deed in the book and deliver its events."""
        host = request.headers.get("host", "127.0.0.1")
        call = Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + host,
            endpoints=self.deliveries.endpoints,
        )
        with self.book.lock:
            try:
                done = dict(deed(call, body))
            finally:
                for follow in call.afterwards:
                    follow()
                self.book.commit()
                events = self.book.events_of_commit()
                self.deliveries.offer(events)
        return done

    def _authenticate(self, request: Request, intent_id: str) -> Answer:
        if request.method == "GET":
            with self.book.lock:
                intent = self.book.get("payment_intent", intent_id)
                return three_d_secure.page(intent)
        outcome = dict(parse_qsl(request.body.decode())).get("outcome")
        done = self._done(
            request,
            lambda call, _: three_d_secure.finished(call, intent_id, is_success=outcome != "fail"),
            {},
        )
        return three_d_secure.back(done)

    def _whole_book(self, _: Body) -> Object:
        with self.book.lock:
            shown: Object = {f"{kind}s": list(self.book.newest_first(kind))[::-1] for kind in KINDS}
            shown |= {"by_transaction": {}, "totals": {}, "now": self.book.now()}
            for charge in shown["charges"]:
                transaction = charge["metadata"].get("transaction_id", "")
                shown["by_transaction"].setdefault(transaction, []).append(charge)
                totals = shown["totals"].setdefault(
                    charge["currency"], {"charges": 0, "charged": 0, "refunded": 0}
                )
                totals["charges"] += charge["status"] == "succeeded"
                totals["charged"] += charge["amount_captured"]
                totals["refunded"] += charge["amount_refunded"]
            return orjson.loads(orjson.dumps(shown))  # type: ignore[no-any-return]

    def _charges(self, body: Body) -> Object:
        transaction = body.get("transaction_id")
        with self.book.lock:
            found = [
                dict(charge)
                for charge in self.book.newest_first("charge")
                if transaction in (None, charge["metadata"].get("transaction_id"))
            ]
        return {"charges": found[::-1]}

    def _clock(self) -> Object:
        return {"now": self.book.now(), "ahead_s": self.book.ahead_s}

    def _advance(self, body: Body) -> Object:
        seconds = body.get("advance_s")
        if not isinstance(seconds, int) or seconds < 0:
            raise InvalidRequest("advance_s is a number of seconds, 0 or more", param="advance_s")
        self.book.advance(seconds)
        return self._clock()

    def _fault(self, body: Body) -> Object:
        self.faults.add(body)
        return {"faults": self.faults.shown()}

    def _clear_faults(self) -> Object:
        self.faults.clear()
        return {"faults": []}

    def _rules(self, body: Body) -> Object:
        for name in body.keys() - vars(Rules()).keys():
            raise InvalidRequest(f"Webhooks have no {name}", param=name)
        self.deliveries.change(**body)
        return self.deliveries.state()

    def _resend(self, body: Body) -> Object:
        return {"statuses": self.deliveries.resend(body["event"], times=body.get("times", 1))}

    def _reset(self) -> Object:
        self.faults.clear()
        self.deliveries.forget()
        self.book.reset()
        return {"status": "ok"}


def _body(request: Request) -> Body:
    if request.method == "GET" or not request.body:
        return dict(parse_qsl(request.query))
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise InvalidRequest("The body must be JSON.") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return body


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
    return disputes.opened(call, call.book.get("charge", charge_id), how)


def _end_dispute(call: Call, body: Body) -> Object:
    return disputes.end(call, call.book.get("dispute", body["id"]), body.get("status", "lost"))


def _settle(call: Call, body: Body) -> Object:
    """End an intent's `processing`: outcome succeeded or failed."""
    intent = call.book.get("payment_intent", body["id"])
    if intent["status"] != "processing":
        raise InvalidRequest(f"The intent is {intent['status']}, not processing.")
    return confirmation.released(call, intent, is_success=body.get("outcome") != "failed")


def _confirm(call: Call, body: Body) -> Object:
    """Confirm as the customer's browser does; it knows the client secret."""
    call.client_secret = body.get("client_secret", "")
    params = {"return_url": "https://example.test/back"} | {
        name: body[name] for name in ("payment_method", "return_url") if name in body
    }
    return payment_intents.confirm(call, params, body["id"])
