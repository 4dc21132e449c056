"""Secrets of every shape, for tests that look for them where nothing may be found."""

from __future__ import annotations

CANARIES = {
    "stripe_key": "sk_live_canaryStripeKey01",
    "webhook_key": "whsec_canaryWebhookKey02",
    "client_secret": "pi_3Mcanary_secret_canaryClientSecret03",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOjA0fQ.canarySignature04",
    "password": "canaryPassword05",
    "card": "5555555555554444",
    "spaced_card": "3782 822463 10005",
    "database": "mysql+pymysql://paybeat:canaryDatabase06@db.example.com/paybeat",
    "token": "tok_canaryToken07",
    "bearer": "Bearer canaryBearer08A",
    "cookie": "session=canaryCookie09",
}
QUERY = "canaryQuery10"
# What of each must never be seen.
HIDDEN = (
    *(f"canary{what}" for what in (
        "StripeKey01", "WebhookKey02", "ClientSecret03", "Signature04", "Password05", "Database06",
        "Token07", "Bearer08A", "Cookie09", "Query10",
    )),
    "5555555555554444",
    "3782 822463 10005",
    "eyJjYW5hcnkiOjA0fQ",
)  # fmt: skip


def leaked(text: str) -> list[str]:
    """Return what can be seen of the secrets."""
    return [hidden for hidden in HIDDEN if hidden in text]


def spill() -> None:
    """Fail with every secret in locals, in the error's arguments and in its cause."""
    rest = [value for name, value in CANARIES.items() if name != "password"]
    try:
        _look_up(CANARIES["password"], CANARIES["card"])
    except LookupError as error:
        raise ValueError(*rest, {"password": CANARIES["password"]}) from error


def _look_up(password: str, card: str) -> None:
    raise LookupError(f"password={password}", {"card": {"number": int(card)}})
