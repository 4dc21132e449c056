"""What a process holds while it works: settings, Celery, gateways, cache, events, telemetry."""
