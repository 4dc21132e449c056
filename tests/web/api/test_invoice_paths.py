"""Every move of an invoice that the API makes: its status, events, timeline and ledger agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from models.invoices import Invoice
from models.timeline import history
from tests.models.test_issuing import booked, broken
from tests.web.api.test_drafts import told_kinds
from worker.database import transaction

INVOICES = "/api/v1/invoices"
LINE = {"description": "Seats", "quantity": 2, "unit_amount": "50.00"}
TRANSFER = {"amount": "100.00", "currency": "INR", "received_on": "2026-11-20"}
OWED = {"receivable": 100, "revenue": -100}
IN_BANK = {"bank": 100, "revenue": -100}


class Desk:
    """An operator with one invoice of our company's."""

    def __init__(self, send: Callable[..., Any]) -> None:
        self.send = send
        self.invoice_id = ""
        self.transfers: list[str] = []

    def do(self, what: str) -> None:
        word, _, rest = what.partition(" ")
        getattr(self, f"_{word}")(*rest.split())

    def _post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self.send(path, body)
        assert answer.status_code < 300, answer.text
        return answer.json

    def _draft(self, percent: str = "0") -> None:
        line = LINE | {"discount_percent": percent}
        made = self._post(INVOICES, {"lines": [line], "draft": True})
        self.invoice_id = made["id"]

    def _finalize(self) -> None:
        self._post(f"{INVOICES}/{self.invoice_id}/finalize")

    def _void(self) -> None:
        self._post(f"{INVOICES}/{self.invoice_id}/void")

    def _give_up(self) -> None:
        self._post(f"{INVOICES}/{self.invoice_id}/mark-uncollectible")

    def _pay(self) -> None:
        body = TRANSFER | {"reference": f"UTR {len(self.transfers)}"}
        made = self._post(f"{INVOICES}/{self.invoice_id}/bank-transfers", body)
        self.transfers.append(made["transaction_id"])

    def _undo(self) -> None:
        reason = {"reason": "of another customer"}
        self._post(f"/api/v1/payments/{self.transfers[-1]}/reverse", reason)

    def _credit(self) -> None:
        body = {"amount": 100, "reason": "it was broken"}
        self._post(f"{INVOICES}/{self.invoice_id}/credit-notes", body)


# What is done; the statuses that the timeline tells; the last event; what the ledger has then.
PATHS: list[tuple[list[str], list[str], str, dict[str, int]]] = [
    (["draft"], [], "invoice.updated", {}),
    (["draft", "finalize"], ["open"], "invoice.created", OWED),
    (["draft 100", "finalize"], ["open", "paid"], "invoice.paid", {}),
    (["draft 100", "finalize", "void"], ["open", "paid", "void"], "invoice.updated", {}),
    (["draft", "finalize", "pay"], ["open", "paid"], "invoice.paid", IN_BANK),
    (["draft", "finalize", "pay", "undo"], ["open", "paid", "open"], "invoice.updated", OWED),
    (["draft", "finalize", "credit"], ["open", "paid"], "invoice.paid", {}),
    (["draft", "finalize", "void"], ["open", "void"], "invoice.updated", {}),
    (
        ["draft", "finalize", "give_up"],
        ["open", "uncollectible"],
        "invoice.updated",
        {"bad_debt": 100, "revenue": -100},
    ),
    (
        ["draft", "finalize", "give_up", "pay"],
        ["open", "uncollectible", "paid"],
        "invoice.paid",
        IN_BANK,
    ),
    (
        ["draft", "finalize", "give_up", "void"],
        ["open", "uncollectible", "void"],
        "invoice.updated",
        {},
    ),
]


@pytest.fixture
def desk(operator, ours):
    company = str(ours.company_id)
    return Desk(lambda path, body: operator.post(path, body, X_Company_Id=company))


@pytest.mark.parametrize(
    ("acts", "statuses", "event", "ledger"), PATHS, ids=["-".join(path[0]) for path in PATHS]
)
def test_what_is_done_to_an_invoice_is_told_everywhere(desk, ours, acts, statuses, event, ledger):
    for act in acts:
        desk.do(act)
    invoice_id = UUID(desk.invoice_id)
    with transaction(company_id=ours.company_id) as session:
        status = session.get_one(Invoice, invoice_id).status
        lines = history(session, [invoice_id])
    assert [line.became for line in lines if line.what == "move"] == statuses
    assert status == (statuses or ["draft"])[-1]
    kinds = [kind for kind in told_kinds(ours.company_id) if kind.startswith("invoice.")]
    assert kinds[-1] == event
    # A draft is a change to who looks; what is issued is told as new, once.
    assert kinds.count("invoice.created") == len(statuses[:1])
    assert booked(ours, invoice_id) == ledger
    assert broken(invoice_id, *desk.transfers) == []


def test_every_move_that_an_invoice_may_make_is_made():
    made = set()
    for _, statuses, _, _ in PATHS:
        made |= set(zip(["draft", *statuses], statuses, strict=False))
    allowed = {(str(was), str(to)) for was, tos in Invoice.MOVES.items() for to in tos}
    assert made == allowed
