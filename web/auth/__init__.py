"""Who may do what: marks on views, the caller of this request, tokens."""

from __future__ import annotations

from web.auth.guard import Caller, Guard, allowed, caller, guard_of, public, visiting

__all__ = ["Caller", "Guard", "allowed", "caller", "guard_of", "public", "visiting"]
