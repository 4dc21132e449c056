"""Every letter: in both forms, in each language, whole, and with nothing of a stranger's in it."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest

from schedules.declines import CustomerAction
from worker.mail import words
from worker.mail.catalogue import TEMPLATES
from worker.mail.composing import SAMPLE_LINK, sample_of
from worker.mail.formats import formats_of
from worker.mail.rendering import FOLDER, Facts, languages_of, render

ROOT = Path(__file__).parents[2]
ROOMS = ("web", "tasks", "worker", "models")
EACH = [(name, language) for name in TEMPLATES for language in languages_of(name)]
HOSTILE = "<script>alert(1)</script>\r\nBcc: thief@example.com\u2028x"
VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Counts tags, and keeps what would be loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in ("src", "background", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag in self.open:
            raise AssertionError(f"{tag} closes over {self.open}")


def facts(name: str, **changes) -> Facts:
    template = TEMPLATES[name]
    told = {
        key: HOSTILE if key in ("name", "plan", "host", "brand", "reason", "unit") else value
        for key, value in template.sample.items()
    }
    values = {
        "company": HOSTILE,
        "sender": HOSTILE,
        "entity_id": "e",
        "told": told,
        "invoice_number": HOSTILE,
    }
    return Facts(**values | changes)


@pytest.mark.parametrize(("name", "language"), EACH)
def test_each_letter_is_whole_in_each_language(name, language):
    letter = sample_of(name, language)
    assert letter.subject
    assert "\n" not in letter.subject
    page = Page(letter.html)
    assert page.loads == []
    assert page.open == ["p", "p"] or not set(page.open) - {"p"}
    assert f'<html lang="{language}">' in letter.html
    for text in (letter.text, letter.html):
        assert "{{" not in text
        assert "None" not in text
        assert (SAMPLE_LINK in text) == TEMPLATES[name].is_optional
    assert words.layout(language)["hello"] in letter.text
    # Whoever reads the one knows what stands in the other.
    for link in re.findall(r"https?://\S+/console/\S+", letter.text):
        assert link in letter.html


@pytest.mark.parametrize(("name", "language"), EACH)
def test_a_hostile_name_is_text_in_every_place(name, language):
    letter = render(name, facts(name, language=language, unsubscribe_url="https://x/?a=1&b=2"))
    assert "script" not in Page(letter.html).tags
    assert "<script" not in letter.html
    assert not re.search(r"[\x00-\x1f\x7f\u2028]", letter.subject)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_letter_never_goes_out_with_a_gap(name):
    for missing in TEMPLATES[name].sample:
        told = {key: value for key, value in TEMPLATES[name].sample.items() if key != missing}
        used = any(f"told.{missing}" in path.read_text() for path in (FOLDER / name).iterdir())
        if used:
            with pytest.raises(jinja2.UndefinedError):
                render(name, facts(name, told=told))


@pytest.mark.parametrize("name", ["payment_failed", "retry_scheduled", "retries_exhausted"])
@pytest.mark.parametrize("action", CustomerAction)
def test_a_decline_says_what_to_do_about_it(name, action):
    for language in languages_of(name):
        told = {**TEMPLATES[name].sample, "action": str(action)}
        letter = render(name, facts(name, told=told, language=language))
        assert words.TO_DO[language][action] in letter.text


# What a translation must name as the original does: values, links, and what decides about a word.
NAMED = re.compile(r"told\.\w+|\w+_url|invoice_number|what_to_do|has_attachment|console\([^)]*\)+")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_translation_tells_all_that_the_original_does_and_in_its_own_words(name):
    for kind in ("subject", "html", "txt"):
        texts = {each: (FOLDER / name / f"{each}.{kind}").read_text() for each in words.LAYOUT}
        named = {language: sorted(NAMED.findall(text)) for language, text in texts.items()}
        for language, text in texts.items():
            assert named[language] == named["en"], (language, kind)
            # Not a line that people read is left as it was.
            lines = {line for line in text.splitlines() if re.search(r"[a-z]{3}", bare(line))}
            assert language == "en" or not lines & set(texts["en"].splitlines()), kind


def bare(line: str) -> str:
    """A template's line without what is no word of the language."""
    return re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>|^[{}()\]\[, ]+$|^.*(facts|none\)).*$", "", line)


def test_a_disputes_reason_is_told_in_words_of_the_language():
    for language, told in (("de", "Leistung nicht erhalten"), ("en", "product not received")):
        sample = {**TEMPLATES["dispute_opened"].sample, "reason": "product_not_received"}
        letter = render("dispute_opened", facts("dispute_opened", told=sample, language=language))
        assert told in letter.text
        assert told in letter.html


def test_another_language_falls_back_to_english_as_a_whole():
    letter = render("dispute_due_soon", facts("dispute_due_soon", language="fr"))
    assert "Hello" in letter.text
    assert "December 1, 2026" in letter.text
    assert render("payment_failed", facts("payment_failed", language="fr")).text.startswith("Hello")
    assert "Guten Tag" in render("payment_failed", facts("payment_failed", language="de-AT")).text


@pytest.mark.parametrize(
    ("language", "zone", "money", "day", "time"),
    [
        ("en", "Asia/Kolkata", "₹1,234,567.50", "November 24, 2026", "1:30:00 AM +0530"),
        ("de", "Europe/Berlin", "1.234.567,50 ₹", "23. November 2026", "21:00:00 MEZ"),
        ("xx", "No/Zone", "₹1,234,567.50", "November 23, 2026", "8:00:00 PM UTC"),
    ],
)
def test_amounts_and_times_are_written_as_they_are_read_there(language, zone, money, day, time):
    formats = formats_of(language, zone)
    moment = "2026-11-23T20:00:00+00:00"
    assert formats.money("1234567.50", "INR").replace("\xa0", " ") == money
    assert formats.day(moment) == day
    assert formats.day("2026-11-23").startswith(("November 23", "23. November"))
    assert formats.time(moment).endswith(time)
    assert "1,000" in formats_of("en").money("1000", "JPY")
    assert "." not in formats_of("en").money("1000", "JPY")


def owed_names() -> set[str]:
    """The templates that are owed anywhere: literals, constants and tables of a module."""
    found: set[str] = set()
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        owing = [call for call in calls if ast.unparse(call.func).endswith("owe_notice")]
        by_name = [
            each.value
            for call in calls
            if any(ast.unparse(arg) == "'notifications.notify'" for arg in call.args)
            for each in call.keywords
            if each.arg == "template"
        ]
        if not owing and not by_name:
            continue
        arguments = [call.args[1] for call in owing if len(call.args) > 1] + by_name
        found.update(a.value for a in arguments if isinstance(a, ast.Constant))
        named = {node.id for a in arguments for node in ast.walk(a) if isinstance(node, ast.Name)}
        if named:
            # Chosen by a table or a condition: every template of the module's own words.
            literals = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
            found.update(n for n in literals if isinstance(n, str) and n in TEMPLATES)
    return found


def test_what_is_owed_has_a_letter_and_each_letter_is_owed():
    assert owed_names() == set(TEMPLATES)


def test_each_letter_has_its_folder_with_all_its_parts_in_each_language():
    for name in TEMPLATES:
        assert set(languages_of(name)) == words.LAYOUT.keys() == words.TO_DO.keys()
        files = {path.name for path in (FOLDER / name).iterdir()}
        assert files == {
            f"{lang}.{kind}" for lang in words.LAYOUT for kind in ("subject", "html", "txt")
        }
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == set(TEMPLATES)
