"""A stand-in for PayPal: the same wire, its own book of what was paid, faults on command."""
