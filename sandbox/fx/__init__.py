"""A stand-in for Open Exchange Rates."""
