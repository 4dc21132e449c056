"""What a tenant sells, as most look at it: kept for six hours, and stale when it is changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.orm import Session

from models import modules
from models.modules import Module
from worker.caching import get_or_fetch, invalidate_after_commit
from worker.database import transaction

LIFE_S = 6 * 3600


class ModuleMeta(BaseModel):
    """A module of a tenant's."""

    id: UUID
    code: str
    name: str
    description: str | None
    details: dict[str, str] | None
    unit: str | None
    is_active: bool
    warning_at: int | None
    critical_at: int | None
    hard_limit: int | None
    created_at: datetime
    updated_at: datetime


class ModulePage(BaseModel):
    """Some of a tenant's modules, and the id after which the next ones begin."""

    rows: list[ModuleMeta]
    next_after: UUID | None


def meta_of(module: Module) -> ModuleMeta:
    """Return a module's row as it is kept."""
    return ModuleMeta.model_validate(module, from_attributes=True)


def find(tenant_id: UUID, module_id: UUID) -> ModuleMeta | None:
    """Return a tenant's module, or None if it has no such one."""

    def read() -> ModuleMeta | None:
        with transaction() as session:
            module = modules.of_tenant(session, tenant_id, module_id)
            return None if module is None else meta_of(module)

    key = _key(tenant_id, str(module_id))
    return get_or_fetch(key, life_s=LIFE_S, kind=ModuleMeta, fetch=read)


def page(tenant_id: UUID, name: str, read: Callable[[], ModulePage]) -> ModulePage:
    """Return a page of a tenant's modules, which goes by `name` and nothing else."""
    key = _key(tenant_id, "page", name)
    return get_or_fetch(key, life_s=LIFE_S, kind=ModulePage, fetch=read) or read()


def make_stale(session: Session, tenant_id: UUID) -> None:
    """Have the commit make all that is kept of a tenant's modules stale."""
    invalidate_after_commit(session, _key(tenant_id, "*"))


def _key(tenant_id: UUID, *words: str) -> str:
    return ":".join(("module_meta", str(tenant_id), *words))
