from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from sandbox.mail.keys import public_key
from tests.bare import bare_environ
from worker.settings import InvalidSettings, Settings, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.example"
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$c29tZWhhc2g"
FIT = {
    "PAYBEAT_ENV": "production",
    "DATABASE_URL": "mysql+pymysql://paybeat:n0t-a-default@db.example.com/paybeat",
    "REDIS_URL": "rediss://:n0t-a-default@cache.example.com:6379/0",
    "STRIPE_API_KEY": "sk_live_51abcdefghijklmnop",
    "STRIPE_WEBHOOK_KEY": "whsec_abcdefghijklmnop",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_51abcdefghijklmnop",
    "JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "FLOWER_LOGIN": f"ada:{HASH}",
    "RELAY_URL": "wss://pay.example.com/ws",
    "MAIL_PROVIDER": "sendgrid",
    "MAIL_FROM": "Pay <billing@pay.example.com>",
    "SENDGRID_API_KEY": "SG.abcdefghijklmnop",
    "SENDGRID_WEBHOOK_KEY": public_key(),
    "PUBLIC_URL": "https://pay.example.com",
    "LINK_SECRET": "fedcba9876543210fedcba9876543210",
}


PAYPAL = {"PAYPAL_CLIENT_ID": "a", "PAYPAL_CLIENT_SECRET": "b", "PAYPAL_WEBHOOK_ID": "c"}


def problems(**changes: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(FIT | changes)
    return "\n".join(caught.value.problems)


def test_an_empty_environment_is_the_sandbox():
    loaded = load({})
    assert loaded == Settings()
    assert not loaded.is_production


def test_values_are_read_in_their_own_kind():
    loaded = load({"PORT": " 9000 ", "WAIT_S": "2.5", "METRICS_ENABLED": "yes", "LOG_LEVEL": ""})
    assert (loaded.port, loaded.wait_s, loaded.metrics_enabled) == (9000, 2.5, True)
    assert loaded.log_level == "INFO"


def test_a_fit_production_environment_starts():
    assert load(FIT).is_production


def test_production_names_every_secret_that_is_missing_at_once():
    with pytest.raises(InvalidSettings) as caught:
        load({"PAYBEAT_ENV": "production"})
    assert {sentence.split()[0] for sentence in caught.value.problems} == {
        "STRIPE_API_KEY",
        "STRIPE_WEBHOOK_KEY",
        "STRIPE_PUBLISHABLE_KEY",
        "PUBLIC_URL",
        "LINK_SECRET",
        "JWT_SECRET",
        "FLOWER_LOGIN",
        "DATABASE_URL",
        "REDIS_PASSWORD",
        "RELAY_URL",
        "MAIL_PROVIDER",
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"SANDBOX_CLOCK": "var/clock"}, "SANDBOX_CLOCK must be empty"),
        ({"STRIPE_API_KEY": "pk_live_123"}, "STRIPE_API_KEY must start with sk_ or rk_."),
        ({"STRIPE_WEBHOOK_KEY": "secret"}, "STRIPE_WEBHOOK_KEY must start with whsec_."),
        ({"STRIPE_WEBHOOK_KEY": "whsec_one,two"}, "STRIPE_WEBHOOK_KEY must start with whsec_."),
        ({"STRIPE_API_BASE": "http://127.0.0.1:12111"}, "STRIPE_API_BASE points at a sandbox"),
        ({"STRIPE_API_BASE": "https://10.0.0.7"}, "STRIPE_API_BASE points at a sandbox"),
        ({"STRIPE_API_BASE": "http://sandbox:12111"}, "STRIPE_API_BASE points at a sandbox"),
        ({"STRIPE_API_BASE": "http://proxy.example.com"}, "must start with https://"),
        ({"PAYPAL_CLIENT_ID": "real"}, "PAYPAL_CLIENT_SECRET is missing"),
        ({"PAYPAL_CLIENT_ID": "real"}, "PAYPAL_WEBHOOK_ID is missing"),
        ({"PAYPAL_API_BASE": "http://127.0.0.1:12112"}, "PAYPAL_API_BASE points at a sandbox"),
        ({"PAYPAL_API_BASE": "http://proxy.example.com"}, "PAYPAL_API_BASE must start with"),
        ({"PAYPAL_TRUST_STORE": "/no/such/roots.pem"}, "PAYPAL_TRUST_STORE must be a file."),
        ({"OPENEXCHANGERATES_BASE": "http://127.0.0.1:12114"}, "_BASE points at a sandbox"),
        ({"OPENEXCHANGERATES_BASE": "https://fx.example.com"}, "_APP_ID is missing"),
        (PAYPAL, "PAYPAL_RETURN_URL must be an https address of yours"),
        (PAYPAL | {"PAYPAL_RETURN_URL": "http://shop.example.com"}, "PAYPAL_RETURN_URL must be"),
        ({"JWT_SECRET": "ab" * 20}, "JWT_SECRET repeats itself"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET must have at least 32 bytes."),
        ({"JWT_SECRET": ""}, "JWT_SECRET is missing"),
        ({"FLOWER_LOGIN": "ada:lovelace"}, "FLOWER_LOGIN must be name:hash and not plain text"),
        ({"FLOWER_LOGIN": ""}, "FLOWER_LOGIN is missing."),
        ({"DATABASE_URL": "mysql+pymysql://paybeat@db.example.com/p"}, "DATABASE_URL has no pass"),
        ({"DATABASE_URL": "mysql+pymysql://u:%20@db.example.com/p"}, "DATABASE_URL has no pass"),
        ({"REDIS_URL": "redis://cache.example.com/0"}, "REDIS_URL has no password."),
        ({"REDIS_URL": ""}, "REDIS_PASSWORD is missing."),
        ({"BROKER_URL": "redis://broker.example.com/0"}, "BROKER_URL has no password."),
        ({"RELAY_URL": ""}, "RELAY_URL is missing"),
        ({"RELAY_URL": "ws://pay.example.com/ws"}, "RELAY_URL must start with wss://"),
        ({"MAIL_PROVIDER": ""}, "MAIL_PROVIDER is missing"),
        ({"MAIL_FROM": ""}, "MAIL_FROM is missing."),
        ({"MAIL_PROVIDER": "smtp"}, "SMTP_URL is missing."),
        ({"SENDGRID_API_KEY": ""}, "SENDGRID_API_KEY is missing."),
        ({"SENDGRID_WEBHOOK_KEY": "MFkw"}, "SENDGRID_WEBHOOK_KEY must be the key"),
        ({"SENDGRID_WEBHOOK_KEY": ""}, "SENDGRID_WEBHOOK_KEY is missing"),
        ({"SENDGRID_API_BASE": "http://127.0.0.1:12113"}, "SENDGRID_API_BASE points at a sandbox"),
        ({"PUBLIC_URL": ""}, "PUBLIC_URL must be an https address"),
        ({"PUBLIC_URL": "http://pay.example.com"}, "PUBLIC_URL must be an https address"),
        ({"LINK_SECRET": ""}, "LINK_SECRET is missing."),
        ({"LINK_SECRET": "", "MAIL_PROVIDER": "off"}, "LINK_SECRET is missing."),
        ({"STRIPE_PUBLISHABLE_KEY": ""}, "STRIPE_PUBLISHABLE_KEY is missing"),
        ({"STRIPE_PUBLISHABLE_KEY": "sk_live_51abc"}, "STRIPE_PUBLISHABLE_KEY is a secret key"),
        ({"LINK_SECRET": "short"}, "LINK_SECRET must have at least 32 bytes."),
        ({"RELAY_ORIGINS": "http://app.example.com"}, "RELAY_ORIGINS must start with https://"),
    ],
)
def test_production_refuses(changes, sentence):
    assert sentence in problems(**changes)


def test_all_three_paypal_settings_or_none_are_fit():
    paypal = PAYPAL | {"PAYPAL_RETURN_URL": "https://shop.example.com/paid"}
    assert load(FIT | paypal).paypal_webhook_id == "c"
    assert load(FIT).paypal_webhook_id == "sandbox"


def test_several_origins_may_open_sockets():
    origins = "https://app.example.com, https://admin.example.com:8443"
    assert load(FIT | {"RELAY_ORIGINS": origins}).allowed_origins == {
        "https://app.example.com",
        "https://admin.example.com:8443",
    }


def test_a_key_set_stands_in_for_the_jwt_secret():
    assert load(FIT | {"JWT_SECRET": "", "JWT_KEYS": '{"keys": []}'}).jwt_keys


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"MAIL_PROVIDER": "pigeon"}, "MAIL_PROVIDER must be one of sendgrid, smtp, off."),
        ({"MAIL_FROM": "nobody"}, "MAIL_FROM must be an address"),
        ({"CLAIM_LEASE_S": "21", "MAIL_TIMEOUT_S": "25"}, "longer than MAIL_TIMEOUT_S"),
        ({"SMTP_URL": "https://mail.example.com"}, "SMTP_URL must be an address that starts with"),
        ({"PAYBEAT_ENV": "prod"}, "PAYBEAT_ENV must be one of sandbox, production."),
        ({"STRIPE_API_KEY": "sk_live_1"}, "only PAYBEAT_ENV=production may hold"),
        ({"PORT": "0"}, "PORT must be a port, 1 to 65535."),
        ({"REDIS_PORT": "65536"}, "REDIS_PORT must be a port"),
        ({"PORT": "http"}, "PORT must be a whole number."),
        ({"WAIT_S": "nan"}, "WAIT_S must be a number."),
        ({"WAIT_S": "inf"}, "WAIT_S must be a number."),
        ({"WAIT_S": "-1"}, "WAIT_S must be more than 0."),
        ({"DATABASE_POOL": "0"}, "DATABASE_POOL must be more than 0."),
        ({"CLAIM_LEASE_S": "20"}, "CLAIM_LEASE_S must be longer than STRIPE_TIMEOUT_S."),
        (PAYPAL | {"CLAIM_LEASE_S": "60"}, "CLAIM_LEASE_S must be longer than 3 times PAYPAL_TIM"),
        ({"SENTRY_TRACES_RATE": "2"}, "SENTRY_TRACES_RATE must be between 0 and 1."),
        ({"METRICS_ENABLED": "perhaps"}, "METRICS_ENABLED must be true or false."),
        ({"RATE_LIMIT": "many"}, "RATE_LIMIT must be a rate such as '600 per minute'."),
        ({"LOGIN_RATE_LIMIT": "10 per blink"}, "LOGIN_RATE_LIMIT must be a rate"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of auto, json, human."),
        ({"FX_STALE_POLICY": "ignore"}, "FX_STALE_POLICY must be one of refuse, flag."),
        ({"OPENEXCHANGERATES_TIMEOUT_S": "90"}, "longer than OPENEXCHANGERATES_TIMEOUT_S."),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be"),
        ({"DEFAULT_CURRENCY": "inr"}, "DEFAULT_CURRENCY must be a currency code"),
        ({"RECONCILIATION_MAIL_COMPANY": "us"}, "RECONCILIATION_MAIL_COMPANY must be the id"),
        ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL must be an address"),
        ({"BROKER_URL": "amqp://localhost"}, "BROKER_URL must be an address"),
        ({"REDIS_URL": "redis://localhost:http"}, "REDIS_URL must be an address"),
        ({"REDIS_DB": "-1"}, "REDIS_DB must be 0 or more."),
        ({"RELAY_URL": "https://pay.example.com/ws"}, "RELAY_URL must be an address"),
        ({"FLOWER_URL": "pay.example.com/flower"}, "FLOWER_URL must be an address"),
        ({"RELAY_ORIGINS": "https://a.example.com,app"}, "RELAY_ORIGINS must be origins such as"),
        ({"RELAY_ORIGINS": "https://a.example.com/x"}, "RELAY_ORIGINS must be origins such as"),
        ({"RELAY_ORIGINS": "*"}, "RELAY_ORIGINS must be origins such as"),
        ({"RELAY_ORIGINS": "https://*.example.com"}, "RELAY_ORIGINS must be whole origins"),
        ({"WS_MAX_PER_USER": "0"}, "WS_MAX_PER_USER must be more than 0."),
    ],
)
def test_every_mode_refuses(changes, sentence):
    with pytest.raises(InvalidSettings, match=re.escape(sentence)):
        load(changes)


def test_no_sentence_shows_a_value():
    shown = problems(
        JWT_SECRET="hush-hush", FLOWER_LOGIN="ada:hush-hush", REDIS_URL="hush-hush", PORT="hush"
    )
    assert "hush" not in shown


def test_repr_keeps_secrets():
    assert not re.search(r"n0t-a-default|sk_live|whsec|0123456789abcdef|argon2", repr(load(FIT)))


SETTING = re.compile(r"#? ?([A-Z][A-Z0-9_]*)=(.*)")
BOOTS = {
    "worker": ["celery", "-A", "worker.app", "worker", "-P", "threads"],
    "beat": ["celery", "-A", "worker.app", "beat"],
    "flower": ["celery", "-A", "worker.app", "flower", "--conf=worker/flowerconfig.py"],
    "web": ["gunicorn", "web.app:create_app()", "-c", "web/gunicorn.py"],
    "relay": ["gunicorn", "web.relay.app:create_app()", "-c", "web/relay/gunicorn.py"],
    "release": ["flask", "--app", "web.app", "migrate"],
}


@pytest.mark.parametrize("command", BOOTS.values(), ids=BOOTS)
def test_every_process_shows_its_sentences_and_no_traceback(command):
    ended = subprocess.run(
        [ROOT / ".venv" / "bin" / command[0], *command[1:]],
        cwd=ROOT,
        env=bare_environ(PAYBEAT_ENV="production", PORT="none"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert "PORT must be a whole number." in told
    assert "STRIPE_API_KEY is missing." in told
    assert "Traceback" not in told


def example() -> dict[str, str]:
    """Return the names and values that the example offers, commented out or not."""
    lines = [
        match.groups() for match in map(SETTING.match, EXAMPLE.read_text().splitlines()) if match
    ]
    assert len(lines) == len(dict(lines)), "a setting stands twice"
    return dict(lines)


def test_every_setting_is_documented_and_nothing_else():
    assert set(example()) == {field.name.upper() for field in fields(Settings)}


def test_every_documented_setting_is_explained():
    block = ""
    for line in EXAMPLE.read_text().splitlines():
        is_setting = bool(SETTING.match(line))
        assert not is_setting or block, f"{line} has no comment above it"
        # One comment may speak for the settings that follow it.
        block = block or line if is_setting or line.startswith("# ") else ""


def test_the_example_shows_the_defaults():
    assert load(example()) == Settings()
