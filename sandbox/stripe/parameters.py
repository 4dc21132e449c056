"""Checks requests against the typed parameters that stripe-python publishes.

Each `stripe.params` TypedDict is compiled, when it is first asked for, into a function that takes
the nested form of `forms` and returns real integers, booleans and lists, or raises Stripe's error.
A union of words with `str` is how stripe-python writes an enumeration that may grow; the API
refuses other words, and so does this.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from types import ModuleType, UnionType
from typing import Any, ForwardRef, Literal, NoReturn, NotRequired, Union, get_args, get_origin

from stripe._request_options import RequestOptions
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import is_typeddict

from sandbox.stripe.errors import InvalidRequest

Checker = Callable[[str, Any], Any]
"""Takes the parameter's name and its raw value; returns the value or raises InvalidRequest."""

HEADER_OPTIONS = frozenset(RequestOptions.__annotations__)
# stripe-python takes these beside the parameters; none of them goes into the form.


@cache
def checker(operation: str) -> Checker:
    """Return the check of `operation`, such as "payment_intent_create"."""
    module = importlib.import_module(f"stripe.params._{operation}_params")
    name = "".join(part.title() for part in operation.split("_")) + "Params"
    return _object(vars(module)[name], module)


def _bad(param: str, message: str, code: str | None = None) -> NoReturn:
    raise InvalidRequest(message, code=code, param=param)


def _text(param: str, raw: Any) -> str:
    if not isinstance(raw, str):
        _bad(param, f"Invalid string: {raw!r}")
    if raw == "":
        _bad(
            param,
            f"You passed an empty string for '{param}'. We assume empty values are an attempt to "
            f"unset a field; however '{param}' cannot be unset. You should remove '{param}' from "
            "your request or supply a non-empty value.",
            "parameter_invalid_empty",
        )
    return raw


def _integer(param: str, raw: Any) -> int:
    if not isinstance(raw, str) or not re.fullmatch(r"[+-]?\d{1,18}", raw):
        _bad(param, f"Invalid integer: {raw}", "parameter_invalid_integer")
    return int(raw)


def _boolean(param: str, raw: Any) -> bool:
    if raw not in ("true", "false"):
        _bad(param, f"Invalid boolean: {raw}")
    return bool(raw == "true")


def _decimal(param: str, raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"-?\d+(\.\d+)?", raw):
        _bad(param, f"Invalid decimal: {raw}")
    return raw


def _array(item: Checker) -> Checker:
    def check(param: str, raw: Any) -> list[Any]:
        if raw == "":
            return []
        if not isinstance(raw, dict) or not all(key.isdecimal() for key in raw):
            _bad(param, "Invalid array")
        return [item(f"{param}[{key}]", raw[key]) for key in sorted(raw, key=int)]

    return check


def _hash(value: Checker) -> Checker:
    def check(param: str, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            _bad(param, "Invalid hash")
        return {
            key: "" if entry == "" else value(f"{param}[{key}]", entry)
            for key, entry in raw.items()
        }

    return check


def _object(typed: Any, module: ModuleType) -> Checker:
    hints = {
        name: hint
        for name, hint in inspect.get_annotations(typed).items()
        if name not in HEADER_OPTIONS
    }
    required = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
    checks: dict[str, Checker] = {}

    def check(param: str, raw: Any) -> dict[str, Any]:
        if not isinstance(raw, dict):
            _bad(param, "Invalid object")
        checked = {}
        for name, value in raw.items():
            full = f"{param}[{name}]" if param else name
            if name not in hints:
                _bad(full, f"Received unknown parameter: {full}", "parameter_unknown")
            if name not in checks:
                checks[name] = _compiled(hints[name], module)
            checked[name] = checks[name](full, value)
        for name in sorted(required - raw.keys()):
            full = f"{param}[{name}]" if param else name
            _bad(full, f"Missing required param: {full}.", "parameter_missing")
        return checked

    return check


PLAIN: dict[Any, Checker] = {
    Any: lambda _, raw: raw,
    Decimal: _decimal,
    bool: _boolean,
    float: _decimal,
    int: _integer,
    str: _text,
}


def _compiled(hint: Any, module: ModuleType) -> Checker:
    if isinstance(hint, str | ForwardRef):
        text = hint if isinstance(hint, str) else hint.__forward_arg__
        return _compiled(eval(text, vars(module)), module)  # noqa: S307  stripe-python's own text
    if is_typeddict(hint):
        return _object(hint, module)
    if hint in PLAIN:
        return PLAIN[hint]
    return COMPOUND[get_origin(hint)](get_args(hint), module)


def _word(words: tuple[Any, ...]) -> Checker:
    shown = [str(word) for word in words if word != ""]

    def check(param: str, raw: Any) -> str:
        if raw not in words:
            listed = ", ".join(shown[:-1]) + (", or " if len(shown) > 1 else "") + shown[-1]
            _bad(param, f"Invalid {param}: must be one of {listed}")
        return str(raw)

    return check


def _union(args: tuple[Any, ...], module: ModuleType) -> Checker:
    words = tuple(word for arg in args if get_origin(arg) is Literal for word in get_args(arg))
    rest = [arg for arg in args if get_origin(arg) is not Literal]
    may_unset = "" in words
    enumeration = _word(words) if set(words) - {""} else None
    structured = [_compiled(arg, module) for arg in rest if arg not in PLAIN]
    plain = [PLAIN[arg] for arg in rest if arg in PLAIN and not (enumeration and arg is str)]

    def check(param: str, raw: Any) -> Any:
        if raw == "" and may_unset:
            return ""
        if isinstance(raw, dict) and structured:
            return structured[0](param, raw)
        if plain and not (enumeration and raw in words):
            return plain[0](param, raw)
        return (enumeration or structured[0])(param, raw)

    return check


COMPOUND: dict[Any, Callable[[tuple[Any, ...], ModuleType], Checker]] = {
    Literal: lambda args, _: _word(args),
    NotRequired: lambda args, module: _compiled(args[0], module),
    Union: _union,
    UnionType: _union,
    UntypedStripeObject: lambda args, module: _hash(_compiled(args[0], module)),
    dict: lambda args, module: _hash(_compiled(args[1], module)),
    list: lambda args, module: _array(_compiled(args[0], module)),
}
