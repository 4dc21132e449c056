"""Payouts of a provider, matched with what they pay out."""
