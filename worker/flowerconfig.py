"""Flower's configuration: `celery -A worker.app flower --conf=worker/flowerconfig.py`."""

import secrets
from pathlib import Path

from worker.flower_login import guard
from worker.settings import settings

guard(settings().flower_login)
# Turns on Flower's checks against forged requests; it opens nothing, guard() asks for the login.
basic_auth = [secrets.token_urlsafe()]

# Loopback only: the proxy in front is the way in from outside.
address = "127.0.0.1"
port = settings().flower_port
persistent = True
_state = Path("var/flower").absolute()
_state.mkdir(parents=True, exist_ok=True)
db = str(_state / "events")
