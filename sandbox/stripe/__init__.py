"""A stand-in for Stripe: the same wire, its own book of what was charged, faults on command."""
