"""Whom the portal's page may reach, and nobody else: ourselves, and whoever takes the card.

The card's form is Stripe's own, in a frame of theirs; on the sandbox the stand-in's, by the same
script interface. PayPal's page is gone to as a whole, which needs no leave of a policy.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from web.console import places
from worker.settings import Settings, settings

STRIPE_JS = "https://js.stripe.com/v3/"
# As Stripe's own guide to integration has them.
SCRIPTS = "https://js.stripe.com https://*.js.stripe.com"
FRAMES = f"{SCRIPTS} https://hooks.stripe.com"
CALLS = "https://api.stripe.com"


def card_script() -> str | None:
    """Return the script by which cards are taken; None where there is no key for it."""
    if (stand_in := _stand_in()) is not None:
        return f"{stand_in}/sandbox/stripe.js"
    has_key = settings().stripe_publishable_key != Settings.stripe_publishable_key
    return STRIPE_JS if has_key else None


def policy() -> str:
    """Return the Content-Security-Policy of all that the portal is made of."""
    scripts, frames, calls = _others()
    rules = {
        "default-src": "'none'",
        "script-src": f"'self'{scripts}",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": f"'self'{calls}",
        "frame-src": frames or "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        # Stripe's script makes others by the default policy, which lets in theirs alone.
        "trusted-types": "default",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _others() -> tuple[str, str, str]:
    script = card_script()
    if script is None:
        return "", "", ""
    if script == STRIPE_JS:
        return f" {SCRIPTS}", FRAMES, f" {CALLS}"
    parts = urlsplit(script)
    origin = f"{parts.scheme}://{parts.netloc}"
    return f" {origin}", origin, ""


def _stand_in() -> str | None:
    return (places.stand_ins() or {}).get("stripe")
