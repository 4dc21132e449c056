"""From a template and its values to subject, HTML and text. Pure but for reading the templates.

A variable that a template names and nobody gives is an error, never an empty place. Values are
escaped in HTML; nothing in a letter is loaded from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from jinja2.exceptions import UndefinedError

from worker.mail import words
from worker.mail.formats import formats_of
from worker.mail.links import console_link

FOLDER = Path(__file__).parent / "templates"
LONGEST_SUBJECT = 200
CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a letter is made of.

    Attributes:
        told: the notice's arguments.
        entity_id: of what it is about, as text.
        unsubscribe_url: None for a letter that nobody can switch off.
        pay_url: where the letter's invoice is seen and paid without a login; as portal_url where
            there is none.
        portal_url: the company's own portal.
    """

    company: str
    sender: str
    entity_id: str
    told: Mapping[str, Any]
    language: str = words.FALLBACK
    time_zone: str = "UTC"
    invoice_number: str | None = None
    has_attachment: bool = False
    unsubscribe_url: str | None = None
    pay_url: str = field(default="", repr=False)
    portal_url: str = field(default="", repr=False)


@dataclass(frozen=True)
class Rendered:
    """A letter's words."""

    subject: str
    html: str
    text: str


class _Told(dict[str, Any]):
    """A notice's arguments; jinja itself would hand a gap on to whoever formats it."""

    def __missing__(self, name: str) -> Any:
        raise UndefinedError(f"the notice does not tell {name}")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=select_autoescape(("html",), default=False, default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def language_of(template: str, wanted: str) -> str:
    """Return the language in which there is a letter: the wanted one, or English."""
    short = wanted.partition("-")[0].lower()
    return short if (FOLDER / template / f"{short}.subject").is_file() else words.FALLBACK


def languages_of(template: str) -> list[str]:
    """Return the languages in which there is a letter."""
    return sorted(path.stem for path in (FOLDER / template).glob("*.subject"))


def render(template: str, facts: Facts) -> Rendered:
    """Return what a letter says.

    Raises:
        jinja2.TemplateNotFound: there is no such letter.
        jinja2.UndefinedError: it lacks a value.
    """
    language = language_of(template, facts.language)
    formats = formats_of(
        facts.language if facts.language.lower().startswith(language) else language,
        facts.time_zone,
    )
    values: dict[str, Any] = {
        "company": facts.company,
        "sender": facts.sender,
        "entity_id": facts.entity_id,
        "told": _Told(facts.told),
        "invoice_number": facts.invoice_number,
        "has_attachment": facts.has_attachment,
        "unsubscribe_url": facts.unsubscribe_url,
        "pay_url": facts.pay_url,
        "portal_url": facts.portal_url,
        "language": language,
        "words": words.layout(language),
        "what_to_do": words.to_do(language, facts.told.get("action")),
        "reason": partial(words.reason, language),
        "console": console_link,
        "money": formats.money,
        "number": formats.number,
        "day": formats.day,
        "time": formats.time,
    }
    # One line, however a name is spelled: a header has no others.
    subject = " ".join(_filled(f"{template}/{language}.subject", values).splitlines())
    values["subject"] = subject = CONTROLS.sub(" ", subject).strip()[:LONGEST_SUBJECT]
    text = _filled(f"{template}/{language}.txt", values).strip() + "\n"
    return Rendered(subject, _filled(f"{template}/{language}.html", values), text)


def _filled(name: str, values: Mapping[str, Any]) -> str:
    return _environment().get_template(name).render(values)
