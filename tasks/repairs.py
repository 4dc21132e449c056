"""Breaks that are safe to mend, by the handlers that webhooks use."""
