"""What was asked, and which rates somebody has set by hand."""

from __future__ import annotations

from decimal import Decimal

from sandbox.standin.book import Book as AnyBook
from sandbox.standin.refusal import Refusal

RATE = "rate"
ASK = "ask"


class Book(AnyBook):
    """The asks, oldest first, and the rates that are not the market's."""

    indexed = {ASK: (), RATE: ()}  # noqa: RUF012  declared as ClassVar where it is inherited from
    key_life_s = 0

    def missing(self, kind: str, object_id: str, *, param: str) -> Refusal:  # noqa: ARG002
        """Return the answer to what is not known."""
        return Refusal(f"No {kind} {object_id}", status=404)

    def ask(self, method: str, path: str, status: int) -> None:
        """Note a request; never its query, which may hold the app id."""
        number = sum(1 for _ in self.after(ASK, 0))
        asked = {"id": f"ask_{number}", "object": ASK, "at": self.now()}
        self.put({**asked, "method": method, "path": path, "status": status})
        self.commit()

    def rates(self) -> dict[str, Decimal]:
        """Return the rates that were set by hand."""
        return {each["id"]: Decimal(each["rate"]) for each in self.after(RATE, 0)}
