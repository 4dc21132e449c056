"""Stripe: client and wire do the I/O; translate, minor, codes and failures are pure."""
