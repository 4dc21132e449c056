"""The queues: one a subject, named like the module in tasks/ that works it."""

SUBJECTS = (
    "payments",
    "lookups",
    "refunds",
    "disputes",
    "methods",
    "janitor",
    "reviews",
    "webhooks",
    "events",
    "notifications",
    "mail",
    "ladder",
    "subscriptions",
    "invoicing",
    "endpoints",
    "fx",
    "imports",
    "operations",
    "outbox",
)
