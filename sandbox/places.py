"""Where each thing of a local run is: ports, and the environment that tells the processes.

What the environment or `.env` gives is kept; what it leaves open is chosen here. A default port
that is taken gives way to a free one; a port given by number does not.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.children import (
    LOOPBACK,
    VAR,
    NotReady,
    PortTaken,
    free_port,
    is_free,
    obstacle,
    reserve,
)
from sandbox.mail.keys import public_key

ROOT = VAR.parent
DEFAULT_PORTS = {
    "PORT": 8000,
    "RELAY_PORT": 8001,
    "FLOWER_PORT": 5555,
    "SANDBOX_PORT": 12111,
    "SANDBOX_PAYPAL_PORT": 12112,
    "SANDBOX_MAIL_PORT": 12113,
    "SANDBOX_FX_PORT": 12114,
    "MARIADB_PORT": 13306,
    "REDIS_PORT": 16379,
}
# The servers' own ports are not their usual ones, so as not to be taken for installed servers.
DOTENV_LINE = re.compile(r"^(?:export +)?([A-Za-z_]\w*)=(.*)$", re.MULTILINE)
DEFAULTS = {
    "PAYBEAT_ENV": "sandbox",
    "FLOWER_LOGIN": "paybeat:paybeat",
    # The systems that hear of events are on this machine too.
    "ENDPOINTS_HTTP": "true",
    "ENDPOINTS_ALLOW": "127.0.0.0/8,::1/128",
    # Lines are shown as they come, not when a buffer is full.
    "PYTHONUNBUFFERED": "1",
}
SANDBOX_KEY = "sk_test_sandbox"
SANDBOX_CLIENT = "sandbox"
SENDGRID_KEY = "SG.sandbox"
SANDBOX_APP_ID = "sandbox"
# What `.env.example` says of our own address: nobody's choice, so it moves with PORT.
PUBLIC_URL = f"http://{LOOPBACK}:{DEFAULT_PORTS['PORT']}"
RETURN_URL = f"http://{LOOPBACK}:{DEFAULT_PORTS['PORT']}/"
PAYPAL_ROOT = VAR / "sandbox" / "paypal" / "root.pem"
# Where the stand-in for PayPal, as the Procfile starts it, leaves the root of its certificates.


@dataclass
class Places:
    """The environment of the run, and what a person should be told of how it came about."""

    environ: dict[str, str]
    folder: Path
    notes: list[str] = field(default_factory=list)

    def port(self, name: str) -> int:
        """Choose a port, once, and put it in the environment.

        Raises:
            PortTaken: it was given by number and somebody listens there, or nobody may.
        """
        others = {self.environ.get(other) for other in DEFAULT_PORTS if other != name}
        if given := self.environ.get(name):
            if not given.isdigit() or not 0 < int(given) < 1 << 16:
                raise PortTaken(f"{name} must be a port, 1 to 65535, not {given!r}.")
            if given in others:
                raise PortTaken(f"{name}: port {given} is given to another process of ours too.")
            if error := obstacle(int(given)):
                if error.errno != errno.EADDRINUSE:
                    raise PortTaken(f"{name}: port {given} cannot be used: {error.strerror}.")
                raise PortTaken(f"{name}: port {given} is taken; stop what listens there.")
            return int(given)
        port = DEFAULT_PORTS[name]
        if str(port) in others or not (is_free(port) and reserve(port)):
            port = free_port()
            self.notes.append(f"{name}: {DEFAULT_PORTS[name]} is taken, using {port}.")
        self.environ[name] = str(port)
        return port

    def log(self, name: str) -> Path:
        """Return where the output of something goes."""
        return self.folder / "log" / f"{name}.log"

    def has(self, *names: str) -> bool:
        """Return whether one of them is given."""
        return any(self.environ.get(name) for name in names)

    @property
    def has_own_database(self) -> bool:
        """Whether a MariaDB of ours is needed."""
        return not self.has("DATABASE_URL")

    @property
    def has_own_cache(self) -> bool:
        """Whether a Valkey of ours is needed."""
        return not self.has("REDIS_URL", "REDIS_HOST")

    @property
    def has_own_stripe(self) -> bool:
        """Whether the stand-in for Stripe is needed."""
        return self.environ.get("STRIPE_API_KEY", SANDBOX_KEY) in {"", SANDBOX_KEY}

    @property
    def has_own_paypal(self) -> bool:
        """Whether the stand-in for PayPal is needed."""
        return self.environ.get("PAYPAL_CLIENT_ID", SANDBOX_CLIENT) in {"", SANDBOX_CLIENT}

    @property
    def has_own_mail(self) -> bool:
        """Whether the stand-in for SendGrid is needed."""
        is_ours = self.environ.get("SENDGRID_API_KEY", SENDGRID_KEY) in {"", SENDGRID_KEY}
        return is_ours and self.environ.get("MAIL_PROVIDER", "") in {"", "sendgrid"}

    @property
    def has_own_fx(self) -> bool:
        """Whether the stand-in for Open Exchange Rates is needed."""
        return self.environ.get("OPENEXCHANGERATES_APP_ID", SANDBOX_APP_ID) in {"", SANDBOX_APP_ID}

    @property
    def site(self) -> str:
        """The address of the API."""
        return f"http://{LOOPBACK}:{self.environ['PORT']}"

    @property
    def relay(self) -> str:
        """The address of the relay; its sockets are at `/ws`."""
        return f"http://{LOOPBACK}:{self.environ['RELAY_PORT']}"

    @contextmanager
    def written(self, path: Path) -> Iterator[None]:
        """Write what differs from the caller's environment, for other terminals to read."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(
            "".join(
                f"{name}={shlex.quote(value)}\n"
                for name, value in sorted(self.environ.items())
                if os.environ.get(name) != value
            )
        )
        try:
            yield
        finally:
            path.unlink()


def read_dotenv(text: str) -> dict[str, str]:
    """Read `NAME=value` lines; quotes as in a shell, empty values left out.

    Raises:
        NotReady: a quote is not closed.
    """
    values = {}
    for name, value in DOTENV_LINE.findall(text):
        try:
            bare = shlex.split(value)[0] if value[:1] in {"'", '"'} else value.strip()
        except ValueError:
            raise NotReady(f"{name} in .env has a quote that is not closed.") from None
        if bare:
            values[name] = bare
    return values


def read_places(
    environ: Mapping[str, str], *, folder: Path = VAR, dotenv: Path = ROOT / ".env"
) -> Places:
    """Return the places of a run; the environment is stronger than the file."""
    from_file = read_dotenv(dotenv.read_text()) if dotenv.exists() else {}
    # Empty is not given, in either.
    given = {name: value for name, value in environ.items() if value}
    places = Places({**DEFAULTS, **from_file, **given}, folder)
    binaries = str(ROOT / ".venv" / "bin")
    places.environ["PATH"] = f"{binaries}:{environ.get('PATH', '')}"
    return places


def choose_ports(places: Places) -> None:
    """Choose the ports of our processes and tell them of each other.

    Raises:
        PortTaken: a port given by number belongs to somebody else.
    """
    for name in ("PORT", "RELAY_PORT", "FLOWER_PORT"):
        places.port(name)
    if places.environ.get("PAYPAL_RETURN_URL", RETURN_URL) == RETURN_URL:
        places.environ["PAYPAL_RETURN_URL"] = f"{places.site}/"
    webhooks = f"{places.site}/api/v1/webhooks"
    if places.has_own_stripe:
        clock = (places.folder / "sandbox" / "clock").absolute()
        places.environ.setdefault("SANDBOX_CLOCK", str(clock))
        places.environ["STRIPE_API_BASE"] = f"http://{LOOPBACK}:{places.port('SANDBOX_PORT')}"
        places.environ.setdefault("SANDBOX_WEBHOOK_URL", f"{webhooks}/stripe")
    if places.has_own_paypal:
        paypal = f"http://{LOOPBACK}:{places.port('SANDBOX_PAYPAL_PORT')}"
        places.environ["PAYPAL_API_BASE"] = paypal
        places.environ.setdefault("PAYPAL_TRUST_STORE", str(PAYPAL_ROOT))
        places.environ.setdefault("SANDBOX_PAYPAL_WEBHOOK_URL", f"{webhooks}/paypal")
    if places.environ.get("PUBLIC_URL", PUBLIC_URL) == PUBLIC_URL:
        places.environ["PUBLIC_URL"] = places.site
    if places.has_own_mail:
        mail = f"http://{LOOPBACK}:{places.port('SANDBOX_MAIL_PORT')}"
        places.environ |= {"MAIL_PROVIDER": "sendgrid", "SENDGRID_API_BASE": mail}
        places.environ["SENDGRID_WEBHOOK_KEY"] = public_key()
        places.environ.setdefault("SANDBOX_MAIL_WEBHOOK_URL", f"{webhooks}/sendgrid")
    if places.has_own_fx:
        fx = f"http://{LOOPBACK}:{places.port('SANDBOX_FX_PORT')}"
        places.environ["OPENEXCHANGERATES_BASE"] = fx
