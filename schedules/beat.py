"""Beat's entries: which periodic task rings how often. Each only says "claim what is due"."""

from __future__ import annotations

# Once a minute is fine for what is counted in minutes; the sweep is what a crash waits for.
JANITOR_EVERY_S = 20.0
# An endpoint is tried again after 5 s at the soonest.
ENDPOINTS_EVERY_S = 5.0
FORGET_EVERY_S = 3600.0
WATCH_EVERY_S = 15.0
INVARIANTS_EVERY_S = 900.0
# A card ends on a day; whoever hears of it an hour later loses nothing.
EXPIRY_EVERY_S = 3600.0
DISPUTES_EVERY_S = 900.0
# Asks a source only while the day's rates are missing.
RATES_EVERY_S = 3600.0
# What is not known for a day is told; an hour later is soon enough.
MAIL_EVERY_S = 3600.0
# What nobody is owed for was lost by hand; a page that fails comes back by itself.
IMPORTS_EVERY_S = 300.0
# What waits is stored so long after it was accepted, unless a full batch rings before.
FLUSH_EVERY_S = 5.0
SETTLE_EVERY_S = 60.0

# An analytics database is loaded by the hour; what is exported a minute later is soon enough.
EXPORTS_EVERY_S = 60.0
# A report that is asked for by the clock is by its minute.
REPORTS_EVERY_S = 60.0

# A chart of past days is so old at most; today's is read from the events.
ROLL_UPS_EVERY_S = 120.0
# The night's look is owed once a day.
METRICS_CHECK_EVERY_S = 900.0


def entries(
    *, sweep_every_s: float, missed_every_s: float = 300.0, reconciliations_every_s: float = 900.0
) -> dict[str, float]:
    """Return the periodic tasks by name and the seconds between their rings."""
    return {
        "outbox.sweep": sweep_every_s,
        "ladder.sweep": sweep_every_s,
        "subscriptions.sweep": sweep_every_s,
        "endpoints.sweep": ENDPOINTS_EVERY_S,
        "endpoints.forget": FORGET_EVERY_S,
        "outbox.forget_expired": FORGET_EVERY_S,
        "operations.watch": WATCH_EVERY_S,
        "operations.check_invariants": INVARIANTS_EVERY_S,
        "methods.watch_expiry": EXPIRY_EVERY_S,
        "disputes.remind": DISPUTES_EVERY_S,
        "fx.watch": RATES_EVERY_S,
        "mail.watch": MAIL_EVERY_S,
        "imports.sweep": IMPORTS_EVERY_S,
        "metrics.roll_up": ROLL_UPS_EVERY_S,
        "metrics.check": METRICS_CHECK_EVERY_S,
        "exports.sweep": EXPORTS_EVERY_S,
        "reports.sweep": REPORTS_EVERY_S,
        "reconciliations.sweep": reconciliations_every_s,
        "payouts.sweep": reconciliations_every_s,
        "analytics.flush": FLUSH_EVERY_S,
        "analytics.sweep": SETTLE_EVERY_S,
        "janitor.sweep": JANITOR_EVERY_S,
        "webhooks.fetch_missed": missed_every_s,
    }
