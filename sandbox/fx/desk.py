"""What only tests and people do to the market: set a rate by hand, and see who asked."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from sandbox.fx.book import ASK, RATE, Book
from sandbox.fx.market import MIDDLE
from sandbox.standin.book import Object
from sandbox.standin.call import Call
from sandbox.standin.deliveries import Deliveries as AnyDeliveries
from sandbox.standin.deliveries import Delivery
from sandbox.standin.desk import Body
from sandbox.standin.desk import Desk as AnyDesk
from sandbox.standin.refusal import Refusal
from sandbox.standin.wire import Answer, Request


class Deliveries(AnyDeliveries):
    """This source tells nobody anything unasked."""

    def __init__(self, book: Book) -> None:
        super().__init__(book, url="", threads=0)

    def headers(self, delivery: Delivery) -> dict[str, str]:  # noqa: ARG002
        """Return nothing: nothing is sent."""
        return {}


def _set_rate(call: Call, body: Body) -> Object:
    """Have a currency stand at `rate`, text, from now on, whatever the market does."""
    if body["id"] not in MIDDLE:
        raise Refusal(f"There is no {body['id']}", status=404)
    try:
        rate = Decimal(body["rate"])
    except InvalidOperation:
        raise Refusal("rate must be a number as text") from None
    return call.book.put({"id": body["id"], "object": RATE, "rate": str(rate)})


class Desk(AnyDesk):
    """Answers `/sandbox/…` of the stand-in for Open Exchange Rates."""

    book: Book
    deeds = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        ("POST", "rates/*"): _set_rate,
    }

    def call(self, request: Request) -> Call:
        """Return a Call that no API request caused."""
        base_url = "http://" + request.headers.get("host", "127.0.0.1")
        return Call(book=self.book, faults=self.faults, base_url=base_url)

    def page(self, request: Request, path: str) -> Answer | None:  # noqa: ARG002
        """Answer nothing: there are no pages."""
        return None

    def charges(self, transaction_id: str | None) -> list[Object]:  # noqa: ARG002
        """Return none: nobody pays here."""
        return []

    def whole_book(self) -> Object:
        """Return who asked, and the rates that were set by hand."""
        return {
            "asks": list(self.book.after(ASK, 0)),
            "rates": list(self.book.after(RATE, 0)),
            "by_transaction": {},
            "totals": {},
        }
