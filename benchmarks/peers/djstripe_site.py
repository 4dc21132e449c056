"""A Django site with dj-stripe's own webhook endpoint and nothing else.

Runs in an environment of its own (benchmarks/requirements.lock). `python djstripe_site.py` makes
the tables and an endpoint whose secret is STRIPE_WEBHOOK_KEY. DJSTRIPE_PROCESS=later stores the
delivery and leaves the event to a callback, as dj-stripe advises for a queue; `now` is its default
and handles the event within the request.
"""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

import django
import pymysql
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

pymysql.install_as_MySQLdb()
_database = urlsplit(os.environ["DJSTRIPE_DATABASE_URL"])
ENDPOINT = "0f0c7c5e-5b7e-4f0e-9d0b-6f5b3c1f2a10"
API_KEY = "sk_test_" + "b" * 24
LATER = {"DJSTRIPE_WEBHOOK_EVENT_CALLBACK": "benchmarks.peers.djstripe_site.leave"}


def leave(trigger: object, **_more: object) -> None:
    """Stand for handing the event to a queue, at no cost."""


settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of-the-benchmark",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    # Sets Content-Length; without it the answer would be chunked.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "NAME": _database.path.strip("/"),
            "USER": _database.username,
            "PASSWORD": unquote(_database.password or ""),
            "HOST": _database.hostname,
            "PORT": _database.port,
            "CONN_MAX_AGE": None,
            "OPTIONS": {"charset": "utf8mb4"},
        }
    },
    STRIPE_TEST_SECRET_KEY=API_KEY,
    STRIPE_LIVE_MODE=False,
    STRIPE_API_HOST=os.environ.get("STRIPE_API_BASE", ""),
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    **(LATER if os.environ.get("DJSTRIPE_PROCESS") == "later" else {}),
)
django.setup()
urlpatterns = [path("stripe/", include("djstripe.urls", namespace="djstripe"))]


def prepare() -> None:
    """Make the tables and the endpoint."""
    from django.core.management import call_command
    from djstripe.models import Account, APIKey, WebhookEndpoint

    call_command("migrate", verbosity=0)
    # What dj-stripe would fetch from Stripe for the first event and then keep.
    account, _ = Account.objects.update_or_create(id="acct_benchmark", defaults={"livemode": False})
    key, _ = APIKey.objects.get_or_create_by_api_key(API_KEY)
    key.djstripe_owner_account = account
    key.save()
    WebhookEndpoint.objects.update_or_create(
        djstripe_uuid=ENDPOINT,
        defaults={
            "id": "we_benchmark",
            "url": "http://127.0.0.1/",
            "secret": os.environ["STRIPE_WEBHOOK_KEY"],
            "status": "enabled",
            "enabled_events": ["*"],
            "livemode": False,
        },
    )


if __name__ == "__main__":
    prepare()
else:
    app = get_wsgi_application()
