"""Form bodies with brackets, as `metadata[order]=7&items[0][price]=p`, to nested dicts and back.

A list comes as a dict with the keys "0", "1", ...; which it is only the parameter's type tells.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

Form = dict[str, Any]
"""Nested: each value is a string or another Form."""


class MixedForm(ValueError):
    """One name is used both as a value and as a hash."""


def decoded(text: str) -> Form:
    """Return the nested form of `text`; of a name given twice the last one counts.

    Raises:
        MixedForm: `a=1&a[b]=2`.
    """
    form: Form = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _put(form, _keys(name), value)
    return form


def _keys(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if not bracket:
        return [name]
    return [head, *rest.removesuffix("]").split("][")]


def _put(form: Form, keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        form = form.setdefault(key or str(len(form)), {})
        if not isinstance(form, dict):
            raise MixedForm(key)
    last = keys[-1] or str(len(form))
    if isinstance(form.get(last), dict):
        raise MixedForm(last)
    form[last] = value
