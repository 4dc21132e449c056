"""Tables with their state machines and queries, money, clock, tenancy. No Celery, Flask or Redis."""
