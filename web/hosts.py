"""The host that a request was sent to, where an address is made of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

from web.problems import Problem


def asked() -> str:
    """Return the host that was asked, without its port; an IPv6 address in brackets.

    Raises:
        Problem: 400, the request's Host is none.
    """
    # What cannot be a host is left out of it.
    host = urlsplit(request.host_url).hostname
    if not host:
        raise Problem("bad-request", "The header Host names no host.")
    return f"[{host}]" if ":" in host else host
