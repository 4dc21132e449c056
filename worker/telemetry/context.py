"""The ids of what this process is doing now, carried by every log line, error report and answer.

    with bind(request_id=...):       # a request, a task
        note(company_id=...)         # learnt on the way; forgotten at the end of the block
        log.info("charged")          # carries both

The ids live in a contextvar: threads, greenlets and asyncio tasks each see their own.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import UUID

from models.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IDS = (
    "request_id",
    "task_id",
    "task",
    "transaction_id",
    "invoice_id",
    "refund_id",
    "method_id",
    "company_id",
    "user_id",
    "attempt",
    "provider_request_id",
)
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# Long enough to be searched for, short enough for a column, and nothing that a log could trip on.

_MARK = "_paybeat_ids"
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids", default=MappingProxyType({}))


def current() -> Mapping[str, str]:
    """Return the ids bound here, read-only, in the order of `IDS`."""
    return _ids.get()


@contextmanager
def bind(**ids: UUID | str | int | None) -> Iterator[None]:
    """Bind ids for a block; None leaves an outer one as it is, "" takes it away.

    Raises:
        KeyError: a name that `IDS` lacks.
    """
    token = _ids.set(_with(ids))
    try:
        yield
    except BaseException as error:
        _mark(error)
        raise
    finally:
        _ids.reset(token)


def note(**ids: UUID | str | int | None) -> None:
    """Add ids that became known inside a `bind` block, as for `bind`; its end forgets them."""
    _ids.set(_with(ids))


def ids_at(error: BaseException | None) -> Mapping[str, str]:
    """Return the ids bound where an error left its block: who reports it may stand outside."""
    return getattr(error, _MARK, None) or {}


def _mark(error: BaseException) -> None:
    if not hasattr(error, _MARK):  # the innermost block knows most
        with suppress(AttributeError):  # an error that takes no attributes goes unmarked
            setattr(error, _MARK, current())


def _with(ids: Mapping[str, UUID | str | int | None]) -> Mapping[str, str]:
    unknown = ids.keys() - set(IDS)
    if unknown:
        raise KeyError(f"not an id that telemetry carries: {', '.join(sorted(unknown))}")
    merged = {
        **_ids.get(),
        **{name: str(value) for name, value in ids.items() if value is not None},
    }
    return MappingProxyType({name: merged[name] for name in IDS if merged.get(name)})


def request_id_from(header: str | None) -> str:
    """Return the caller's request id when it is sane, else a new one."""
    if header and SANE_REQUEST_ID.fullmatch(header):
        return header
    return str(new_id())
