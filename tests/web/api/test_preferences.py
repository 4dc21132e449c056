import pytest
from sqlalchemy import update

from models.preferences import UserPreference
from models.tenants import Role
from tests.queries import queries
from tests.web.visitor import problem_of
from worker.cache import shared
from worker.database import transaction

PREFERENCES = "/api/v1/me/preferences"
DEFAULTS = {
    "language": None,
    "time_zone": None,
    "currency_display": "symbol",
    "theme": "system",
}


@pytest.fixture
def owner(visitor, person):
    """In this process: no worker has anything to do here."""
    return visitor.sign_in(person.email)


def change(who, **chosen):
    return who.send("PATCH", PREFERENCES, json=chosen)


def test_preferences_are_as_by_default_until_they_are_chosen(owner):
    shown = owner.get(PREFERENCES).json
    assert shown | DEFAULTS == shown
    assert set(shown["notifications"].values()) == {True}
    chosen = {"language": "de", "time_zone": "Europe/Berlin", "theme": "dark"}
    assert change(owner, **chosen).json | chosen == owner.get(PREFERENCES).json
    assert change(owner, theme=None).json["theme"] == "system"
    assert owner.get(PREFERENCES).json["language"] == "de"


def test_letters_are_switched_one_by_one(owner):
    change(owner, notifications={"usage_alert": False})
    shown = change(owner, notifications={"trial_ending": False}).json["notifications"]
    assert {name for name, is_on in shown.items() if not is_on} == {"usage_alert", "trial_ending"}
    shown = change(owner, notifications={"usage_alert": True}).json["notifications"]
    assert {name for name, is_on in shown.items() if not is_on} == {"trial_ending"}
    assert set(change(owner, notifications=None).json["notifications"].values()) == {True}


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"colour": "blue"}, "colour"),
        ({"language": "Klingon"}, "language"),
        ({"time_zone": "Europe/Nowhere"}, "time_zone"),
        ({"currency_display": "none"}, "currency_display"),
        ({"theme": 1}, "theme"),
        ({"notifications": {"payment_failed": False}}, "notifications"),
        ({"notifications": {"usage_alert": "no"}}, "notifications.usage_alert"),
    ],
)
def test_what_is_no_preference_is_refused_and_changes_nothing(owner, chosen, field):
    before = owner.get(PREFERENCES).json
    problem = problem_of(change(owner, **chosen), 422, "invalid")
    assert [each["field"] for each in problem["errors"]] == [field]
    assert owner.get(PREFERENCES).json == before


def test_preferences_are_kept_for_an_hour_and_a_change_is_seen_at_once(owner, person):
    change(owner, theme="dark")
    owner.get(PREFERENCES)
    with transaction() as session:
        session.execute(
            update(UserPreference)
            .where(UserPreference.user_id == person.user_id)
            .values(value="light")
        )
    with queries() as sent:
        assert owner.get(PREFERENCES).json["theme"] == "dark"
    assert not [each for each in sent if "user_preferences" in each]
    assert 0 < shared().do(lambda r: r.ttl(f"user_prefs:{person.user_id}")) <= 3600
    assert change(owner, language="fr").json["theme"] == "light"
    assert owner.get(PREFERENCES).json["theme"] == "light"


def test_preferences_are_ones_own_also_an_operators(owner, operator, sign_in_as):
    change(owner, theme="dark")
    assert sign_in_as(Role.MEMBER).get(PREFERENCES).json["theme"] == "system"
    assert change(operator, theme="light").json["theme"] == "light"
    assert owner.get(PREFERENCES).json["theme"] == "dark"
