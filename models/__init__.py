"""Tables with their state machines and queries, money, clock, tenancy. No Celery, no Flask."""
