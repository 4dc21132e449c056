"""What a customer's browser has of Stripe: its script, and the frame in which a card is typed."""

from __future__ import annotations

from pathlib import Path

from sandbox.standin.wire import Answer

FOLDER = Path(__file__).with_name("pages")
PARTS = {
    "stripe.js": ("stripe.js", "text/javascript; charset=utf-8"),
    "card": ("card.html", "text/html; charset=utf-8"),
    "card.js": ("card.js", "text/javascript; charset=utf-8"),
}
DONE = b"<!doctype html><title>3-D Secure</title><p>Done."


def part(path: str) -> Answer | None:
    """Return a file of the browser's, or where the bank's page leads to in the end."""
    if path == "card/done":
        return Answer(200, DONE, content_type="text/html; charset=utf-8")
    if path not in PARTS:
        return None
    name, content_type = PARTS[path]
    return Answer(200, (FOLDER / name).read_bytes(), content_type=content_type)
