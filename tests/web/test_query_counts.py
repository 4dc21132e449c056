"""No list asks the database more often because there is more in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from models.tables import METADATA
from models.tenants import Role, User
from tests.factories import make_company
from tests.models.test_schema import engine_beside
from tests.queries import queries
from tests.web.lists import FIXED, LISTS, Book
from web.app import create_app
from worker.database import engine, transaction
from worker.settings import settings

FEW, MANY = 2, 12


@pytest.fixture(scope="module")
def own_database(migrated, database_url) -> Iterator[None]:
    """A database of its own: rows as these come from no path that keeps the invariants."""
    beside = engine_beside(database_url, "lists")
    METADATA.create_all(beside)
    made = (settings, engine)
    os.environ["DATABASE_URL"] = beside.url.render_as_string(hide_password=False)
    for each in made:
        each.cache_clear()
    yield
    engine().dispose()
    os.environ["DATABASE_URL"] = database_url
    for each in made:
        each.cache_clear()


@pytest.fixture
def book(own_database, use, password_hash) -> Book:
    return Book(make_company(role=Role.OPERATOR, password_hash=password_hash))


@pytest.fixture
def operator(book, visitor):
    """Signed in for the whole of the book's tenant."""
    with transaction() as session:
        session.get_one(User, book.company.user_id).company_id = None
    return visitor.sign_in(book.company.email)


def lists_of(document: dict[str, Any]) -> set[str]:
    """The paths whose GET answers with a list, or holds one, as the API describes itself."""

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("$ref", "").rsplit("/", 1)[-1]
        return document["components"]["schemas"][name] if name else schema

    found = set()
    for path, operations in document["paths"].items():
        answers = operations.get("get", {}).get("responses", {})
        content = answers.get("200", {}).get("content", {}).get("application/json", {})
        schema = resolved(content.get("schema", {}))
        within = schema.get("properties", {}).values()
        if schema.get("type") == "array" or any("$ref" in each.get("items", {}) for each in within):
            found.add(path)
    return found


def rows_in(answer: Any) -> list[Any]:
    if isinstance(answer, dict):
        lists = (each for each in answer.values() if isinstance(each, list))
        return [row for each in lists for row in each]
    return answer


def test_every_list_of_the_api_has_a_recipe():
    found = lists_of(create_app().test_client().get("/openapi.json").json)
    assert "/api/v1/invoices" in found
    assert found == LISTS.keys() | FIXED.keys()


@pytest.mark.parametrize("path", sorted(LISTS))
def test_a_list_asks_no_more_often_when_it_is_longer(path, book, operator):
    recipe = LISTS[path]
    headers = {} if recipe.is_whole else {"X_Company_Id": str(book.company.company_id)}

    def ask(limit: int) -> tuple[int, int]:
        # Another limit is another page to whatever remembers pages.
        place = path.format_map(book.ids)
        answer = operator.get(f"{place}?limit={limit}", **headers)
        if answer.status_code == 422:
            answer = operator.get(place, **headers)
        assert answer.status_code == 200, answer.text
        return len(rows_in(answer.json)), limit

    for _ in range(FEW):
        recipe.make(book)
    ask(97)  # what is asked once a session or process is known from here on
    counts, lengths = [], []
    for limit, more in ((98, 0), (99, MANY - FEW)):
        for _ in range(more):
            recipe.make(book)
        with queries() as sent:
            lengths.append(ask(limit)[0])
        # Whether the session lives is asked every few seconds, by a slow machine in between.
        counts.append([each for each in sent if "user_sessions" not in each])
    assert lengths[1] - lengths[0] >= (MANY - FEW) * recipe.each, lengths
    assert len(counts[1]) <= len(counts[0]), "\n".join(counts[1])
