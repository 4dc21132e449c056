"""Draw into docs/payments.md what the code's own tables say: `make docs`.

Between `<!-- begin NAME -->` and `<!-- end NAME -->` stands what is generated; the words around it
are people's. `--check` writes nothing and ends with 1 when the page is not as the code is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

from models.disputes import Dispute, DisputeStatus
from models.invoices import Invoice, InvoiceStatus
from models.mail import Mail, MailStatus
from models.refunds import REASONS, Refund, RefundStatus
from models.states import Moving
from models.subscriptions import Subscription, SubscriptionStatus
from models.transactions import Status, Transaction
from worker.gateways import networks
from worker.gateways.paypal import codes as paypal_codes
from worker.gateways.stripe import codes as stripe_codes

PAGE = Path(__file__).with_name("payments.md")
HOUR_S = 3600

ADVICE_IN_WORDS = {
    "retry": "charge again on the ladder",
    "retry_once": "charge again once",
    "retry_twice": "charge again at most twice; ask the customer at the first",
    "ask": "ask the customer; never charged again by itself",
    "stop": "stop: this method is done",
    "stop_and_review": "stop; a person must look",
    "look_up": "look it up first, never charge",
}


def machine(table: type[Moving], first: StrEnum) -> str:
    """Return a state machine as a Mermaid diagram, and as a table from row to column."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR", f"    [*] --> {first}"]
    for was, becomes in table.MOVES.items():
        lines += [f"    {was} --> {status}" for status in sorted(becomes)]
        if not becomes:
            lines.append(f"    {was} --> [*]")
    columns = list(table.MOVES)
    lines += [
        "```",
        "",
        "| from \\ to | " + " | ".join(columns) + " |",
        "|---|" + ":-:|" * len(columns),
    ]
    for was, becomes in table.MOVES.items():
        cells = ("●" if status in becomes else "" for status in columns)
        lines.append(f"| **{was}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def declines(title: str, table: Mapping[str, object]) -> str:
    """Return the codes of a decline table by what they ask of us."""
    by_advice: dict[str, list[str]] = {}
    for code, advice in table.items():
        by_advice.setdefault(str(advice), []).append(f"`{code}`")
    lines = [f"| {title} | what is done |", "|---|---|"]
    lines += [
        f"| {', '.join(by_advice[advice])} | {words} |"
        for advice, words in ADVICE_IN_WORDS.items()
        if advice in by_advice
    ]
    return "\n".join(lines)


def waits() -> str:
    """Return the networks' shortest waits."""
    lines = ["| Mastercard's advice | not before |", "|---|---|"]
    lines += [
        f"| {code} | {seconds // HOUR_S} h |"
        for code, seconds in sorted(networks.NETWORK_WAIT_S.items())
    ]
    return "\n".join(lines)


def reasons() -> str:
    """Return what the API takes as a refund's reason, and what is kept."""
    lines = ["| the API takes | the row keeps |", "|---|---|"]
    lines += [f"| `{word}` | `{reason}` |" for word, reason in REASONS.items()]
    return "\n".join(lines)


PAYPAL = {**paypal_codes.DECLINES, **dict(paypal_codes.PROCESSOR.values())}

BLOCKS: dict[str, Callable[[], str]] = {
    "transactions": lambda: machine(Transaction, Status.PENDING),
    "invoices": lambda: machine(Invoice, InvoiceStatus.DRAFT),
    "refunds": lambda: machine(Refund, RefundStatus.PENDING),
    "disputes": lambda: machine(Dispute, DisputeStatus.NEEDS_RESPONSE),
    "mails": lambda: machine(Mail, MailStatus.OWED),
    "subscriptions": lambda: machine(Subscription, SubscriptionStatus.TRIALING),
    "refund reasons": reasons,
    "stripe declines": lambda: declines("Stripe's code", stripe_codes.DECLINES),
    "bank returns": lambda: declines("A returned debit's code", stripe_codes.BANK_RETURNS),
    "paypal declines": lambda: declines("PayPal's issue, or our word for its processor's", PAYPAL),
    "stripe advice": lambda: declines("Stripe's `advice_code`", stripe_codes.ADVICE),
    "network advice": lambda: declines("Mastercard's advice", networks.NETWORK_ADVICE),
    "network waits": waits,
}


def page_of(text: str) -> str:
    """Return the page with each generated block as the code is now.

    Raises:
        KeyError: a block that nothing generates.
    """

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- begin {name} -->\n{BLOCKS[name]()}\n<!-- end {name} -->"

    pattern = r"<!-- begin ([\w ]+) -->\n.*?<!-- end \1 -->"
    return re.sub(pattern, block, text, flags=re.DOTALL)


def main() -> int:
    """Write the page, or check it."""
    text = PAGE.read_text()
    now = page_of(text)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(now)
        print(f"docs/{PAGE.name} is as the code is.")
        return 0
    if now != text:
        print(f"docs/{PAGE.name} is not as the code is: run make docs.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
