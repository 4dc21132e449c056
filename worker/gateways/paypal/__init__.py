"""PayPal: client, tokens and certificates do the I/O; the rest is pure.

translate, money, codes, failures, signatures: plain mappings and bytes in, no I/O.
"""
