"""Compares an answer with stripe-python's resource classes: names, types, words, completeness."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe import ListObject, StripeObject
from stripe._stripe_object import UntypedStripeObject

PLAIN = (bool, float, int, str)


def problems(value: Any, resource: Any, at: str = "") -> list[str]:
    """Return what is wrong with `value` as a `resource`, one line each."""
    if isinstance(resource, str | ForwardRef):
        resource = _resource_named(resource)
    if resource in PLAIN:
        return [] if type(value) is resource else [f"{at}: {value!r} is no {resource.__name__}"]
    origin, args = get_origin(resource), get_args(resource)
    if origin in BY_ORIGIN:
        return BY_ORIGIN[origin](value, args, at)
    return _of_object(value, resource, at)


def _resource_named(name: str | ForwardRef) -> Any:
    text = name if isinstance(name, str) else name.__forward_arg__
    return getattr(stripe, text.strip("'\""), StripeObject)


def _of_words(value: Any, words: tuple[Any, ...], at: str) -> list[str]:
    return [] if value in words else [f"{at}: {value!r} is none of {words}"]


def _of_hash(value: Any, _: tuple[Any, ...], at: str) -> list[str]:
    return [] if isinstance(value, dict) else [f"{at}: {value!r} is no hash"]


def _of_union(value: Any, args: tuple[Any, ...], at: str) -> list[str]:
    if value is None:
        return [] if NoneType in args else [f"{at}: is null"]
    words = [arg for arg in args if get_origin(arg) is Literal]
    closed = [arg for arg in args if not (words and arg is str) and arg is not NoneType]
    found = [problems(value, arg, at) for arg in closed]
    return min(found, key=len)


def _of_list(value: Any, args: tuple[Any, ...], at: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{at}: {value!r} is no list"]
    return [p for entry in value for p in problems(entry, args[0], f"{at}[]")]


def _of_page(value: Any, args: tuple[Any, ...], at: str) -> list[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        return [f"{at}: {value!r} is no list object"]
    return _of_list(value["data"], args, f"{at}.data")


def _of_object(value: Any, resource: type[StripeObject], at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: {value!r} is no {resource.__name__}"]
    if resource is StripeObject:
        return []
    hints = {
        name: hint
        for name, hint in inspect.get_annotations(resource).items()
        if name != "OBJECT_NAME"
    }
    found = [f"{at}.{name}: is unknown" for name in value.keys() - hints.keys()]
    for name, hint in hints.items():
        if name in value:
            found += problems(value[name], hint, f"{at}.{name}")
        elif NoneType not in get_args(hint):
            found.append(f"{at}.{name}: is missing")
    return found


BY_ORIGIN: dict[Any, Callable[[Any, tuple[Any, ...], str], list[str]]] = {
    ListObject: _of_page,
    Literal: _of_words,
    Union: _of_union,
    UntypedStripeObject: _of_hash,
    list: _of_list,
}
