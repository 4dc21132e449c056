"""The API: one blueprint a noun, each listed here."""

from __future__ import annotations

from web.api import auth, health
from web.routes import Routes

BLUEPRINTS: tuple[Routes, ...] = (health.routes, auth.routes)
