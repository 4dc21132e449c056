"""Where a local run puts things: what is given stays, what is open is chosen."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.children import NotReady, PortTaken, free_port
from sandbox.places import DEFAULT_PORTS, Places, choose_ports, read_dotenv, read_places
from worker.settings import Settings, load

EXAMPLE = Path(__file__).parents[2] / ".env.example"


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def test_the_example_copied_to_dotenv_changes_nothing():
    assert load(read_dotenv(EXAMPLE.read_text())) == Settings()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=600 per minute", "600 per minute"),
        ("X=se#cret", "se#cret"),
        ("X='name:$argon2id$v=19'", "name:$argon2id$v=19"),
        ('export X="two words"', "two words"),
        ("X=mysql+pymysql://u:p@h/d?charset=utf8mb4", "mysql+pymysql://u:p@h/d?charset=utf8mb4"),
    ],
)
def test_a_line_of_dotenv_is_read_as_it_stands(line, value):
    assert read_dotenv(line) == {"X": value}


@pytest.mark.parametrize("line", ["# X=1", "X=", "no assignment", ""])
def test_comments_and_empty_values_give_nothing(line):
    assert read_dotenv(line) == {}


def test_a_quote_that_is_not_closed_is_told_by_its_name():
    with pytest.raises(NotReady, match="JWT_SECRET"):
        read_dotenv("JWT_SECRET='abc")


def test_the_environment_is_stronger_than_dotenv(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("WAIT_S=1\nRATE_LIMIT=5 per second\n")
    places = read_places({"WAIT_S": "2", "RATE_LIMIT": ""}, dotenv=dotenv)
    assert places.environ["WAIT_S"] == "2"
    assert places.environ["RATE_LIMIT"] == "5 per second"


def test_a_default_port_that_is_taken_gives_way_and_is_told(taken, monkeypatch, tmp_path):
    monkeypatch.setitem(DEFAULT_PORTS, "PORT", taken)
    places = Places({}, tmp_path)
    port = places.port("PORT")
    assert port != taken
    assert places.environ["PORT"] == str(port)
    assert places.notes == [f"PORT: {taken} is taken, using {port}."]


def test_two_runs_that_start_at_once_do_not_choose_the_same_port(monkeypatch, tmp_path):
    """Nobody listens yet when the second one looks."""
    free = free_port()
    monkeypatch.setitem(DEFAULT_PORTS, "PORT", free)
    choose = (
        "import sys; from pathlib import Path; from sandbox.places import DEFAULT_PORTS, Places;"
        "DEFAULT_PORTS['PORT'] = int(sys.argv[1]); print(Places({}, Path()).port('PORT'))"
    )
    told = subprocess.run(
        [sys.executable, "-c", choose, str(free)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) != free


@pytest.mark.parametrize("given", ["0", "65536", "http", "-1"])
def test_what_is_no_port_is_refused(given, tmp_path):
    with pytest.raises(PortTaken, match="PORT must be a port"):
        Places({"PORT": given}, tmp_path).port("PORT")


def test_a_port_that_two_were_given_is_refused(tmp_path):
    port = str(free_port())
    places = Places({"PORT": port, "FLOWER_PORT": port}, tmp_path)
    with pytest.raises(PortTaken, match=f"port {port} is given to another"):
        choose_ports(places)


def test_a_default_port_that_another_was_given_gives_way(tmp_path):
    places = Places({"FLOWER_PORT": str(DEFAULT_PORTS["PORT"])}, tmp_path)
    assert places.port("PORT") != DEFAULT_PORTS["PORT"]


def test_a_port_that_is_not_allowed_is_told_so_and_not_taken(monkeypatch, tmp_path):
    """Below 1024 without root; who runs the tests may be root."""
    denied = PermissionError(errno.EACCES, "Permission denied")
    monkeypatch.setattr("sandbox.places.obstacle", lambda _port: denied)
    with pytest.raises(PortTaken, match="port 80 cannot be used: Permission denied"):
        Places({"PORT": "80"}, tmp_path).port("PORT")


def test_the_sandbox_learns_where_the_web_is_and_the_gateway_where_the_sandbox_is(tmp_path):
    places = read_places({"PORT": "", "SANDBOX_PORT": ""}, folder=tmp_path, dotenv=tmp_path / "no")
    choose_ports(places)
    environ = places.environ
    assert environ["STRIPE_API_BASE"] == f"http://127.0.0.1:{environ['SANDBOX_PORT']}"
    assert environ["SANDBOX_WEBHOOK_URL"] == f"{places.site}/api/v1/webhooks/stripe"
    assert environ["PAYPAL_API_BASE"] == f"http://127.0.0.1:{environ['SANDBOX_PAYPAL_PORT']}"
    assert environ["SANDBOX_PAYPAL_WEBHOOK_URL"] == f"{places.site}/api/v1/webhooks/paypal"
    assert environ["PAYPAL_TRUST_STORE"].endswith("/sandbox/paypal/root.pem")
    assert environ["MAIL_PROVIDER"] == "sendgrid"
    assert environ["SENDGRID_API_BASE"] == f"http://127.0.0.1:{environ['SANDBOX_MAIL_PORT']}"
    assert environ["SANDBOX_MAIL_WEBHOOK_URL"] == f"{places.site}/api/v1/webhooks/sendgrid"
    assert environ["PUBLIC_URL"] == places.site


@pytest.mark.parametrize("told", [{}, {"PAYPAL_RETURN_URL": Settings().paypal_return_url}])
def test_the_payer_comes_back_to_where_the_web_is(told, tmp_path):
    port = str(free_port())
    places = read_places({"PORT": port, **told}, folder=tmp_path, dotenv=tmp_path / "no")
    choose_ports(places)
    assert places.environ["PAYPAL_RETURN_URL"] == f"http://127.0.0.1:{port}/"


def test_the_payer_comes_back_to_where_somebody_says(tmp_path):
    own = {"PAYPAL_RETURN_URL": "https://shop.example/back"}
    places = read_places(own, folder=tmp_path, dotenv=tmp_path / "no")
    choose_ports(places)
    assert places.environ["PAYPAL_RETURN_URL"] == own["PAYPAL_RETURN_URL"]


def test_with_a_key_of_stripes_own_there_is_no_sandbox(tmp_path):
    places = read_places({"STRIPE_API_KEY": "sk_test_51own"}, dotenv=tmp_path / "no")
    choose_ports(places)
    assert not places.has_own_stripe
    assert "STRIPE_API_BASE" not in places.environ


def test_with_a_client_of_paypals_own_there_is_no_sandbox_of_it(tmp_path):
    places = read_places({"PAYPAL_CLIENT_ID": "AZown"}, dotenv=tmp_path / "no")
    choose_ports(places)
    assert not places.has_own_paypal
    assert not {"PAYPAL_API_BASE", "PAYPAL_TRUST_STORE"} & places.environ.keys()


@pytest.mark.parametrize(
    "own", [{"SENDGRID_API_KEY": "SG.own"}, {"MAIL_PROVIDER": "smtp"}, {"MAIL_PROVIDER": "off"}]
)
def test_with_another_way_to_send_mail_there_is_no_sandbox_of_it(own, tmp_path):
    places = read_places(own, dotenv=tmp_path / "no")
    choose_ports(places)
    assert not places.has_own_mail
    assert "SENDGRID_API_BASE" not in places.environ
    assert places.environ.get("MAIL_PROVIDER") == own.get("MAIL_PROVIDER")


@pytest.mark.parametrize("name", ["REDIS_URL", "REDIS_HOST"])
def test_with_a_redis_given_none_is_started(name, tmp_path):
    assert read_places({}, dotenv=tmp_path / "no").has_own_cache
    assert not read_places({name: "x"}, dotenv=tmp_path / "no").has_own_cache
