"""A real Flower, asked with and without its login."""

from __future__ import annotations

import shlex
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from sandbox.children import Child, free_port
from tests.bare import bare_environ
from tests.waiting import wait_for
from worker.flower_login import Login, main

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse: battery"
HASH = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)


def basic(login: str) -> str:
    return f"Basic {b64encode(login.encode()).decode()}"


@pytest.fixture(scope="module")
def flower(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("flower")
    argv = [ROOT / ".venv" / "bin" / "celery", "-A", "worker.app", "flower"]
    argv += ["--conf=worker/flowerconfig.py", f"--db={folder / 'events'}"]
    env = bare_environ(BROKER_URL=broker_url, FLOWER_PORT=str(port), FLOWER_LOGIN=f"ada:{HASH}")
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as output, Child(argv, env=env, cwd=ROOT, output=output):
        wait_for(lambda: status(f"{url}/healthcheck") == 200)
        yield url


def status(url: str, authorization: str = "", method: str = "GET") -> int:
    headers = {"Authorization": authorization} if authorization else {}
    try:
        request = urllib.request.Request(url, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


PAGES = [
    "/",
    "/tasks",
    "/broker",
    "/metrics",
    "/api/tasks",
    "/api/task/types",
    "/api/queues/length",
]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_asks_for_the_login(flower, page):
    assert status(flower + page) == 401
    assert status(flower + page, basic("ada:wrong")) == 401
    assert status(flower + page, basic(f"ada:{HASH}")) == 401, "the hash is no password"


@pytest.mark.parametrize("page", ["/", "/tasks", "/metrics", "/api/tasks", "/api/task/types"])
def test_the_login_opens_it(flower, page):
    assert status(flower + page, basic(f"ada:{PASSWORD}")) == 200


def test_a_command_needs_the_login_too(flower):
    send = f"{flower}/api/task/send-task/payments.charge"
    assert status(send, method="POST") == 401


def test_a_hash_is_checked():
    login = Login(f"ada:{HASH}")
    assert login.accepts(basic(f"ada:{PASSWORD}"))
    assert login.accepts(basic(f"ada:{PASSWORD}")), "the second time is answered from memory"
    assert not login.accepts(basic(f"eve:{PASSWORD}"))
    assert not login.accepts(basic("ada:wrong"))


def test_plain_text_is_checked():
    assert Login("paybeat:paybeat").accepts(basic("paybeat:paybeat"))
    assert not Login("paybeat:paybeat").accepts(basic("paybeat:"))


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!", f"Bearer {b64encode(b'paybeat:paybeat').decode()}", "Basic /w==",
     basic("paybeat"), basic(":"), basic(f"ada:{'x' * 10_000}"), "Basic é"],
)  # fmt: skip
def test_a_header_of_another_kind_is_refused(header):
    assert not Login("paybeat:paybeat").accepts(header)


@pytest.mark.parametrize("login", ["", "ada", "ada:", ":", "ada:$argon2id$broken"])
def test_a_login_without_a_password_opens_nothing(login):
    assert not Login(login).accepts(basic("ada:"))
    assert not Login(login).accepts(basic(":"))
    assert not Login(login).accepts(basic(login))


def answer(monkeypatch, name, password):
    """Type these where `python -m worker.flower_login` asks for them."""
    monkeypatch.setattr("builtins.input", lambda _: name)
    monkeypatch.setattr("getpass.getpass", lambda _: password)


def test_the_setting_that_is_made_lets_its_owner_in(monkeypatch, capsys):
    answer(monkeypatch, " ada ", PASSWORD)
    main()
    # As a shell reads it from the file of settings.
    [setting] = shlex.split(capsys.readouterr().out)
    name, _, login = setting.partition("=")
    assert name == "FLOWER_LOGIN"
    assert PASSWORD not in login
    assert Login(login).accepts(basic(f"ada:{PASSWORD}"))


@pytest.mark.parametrize(
    ("name", "password"), [("", PASSWORD), ("a:da", PASSWORD), ("ada", "eleven char")]
)
def test_no_setting_is_made_of_a_poor_name_or_password(monkeypatch, capsys, name, password):
    answer(monkeypatch, name, password)
    with pytest.raises(SystemExit, match="12 characters"):
        main()
    assert capsys.readouterr().out == ""
