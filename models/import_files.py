"""Files of imports: read once when they are sent, and kept in pages that a task reads one of."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

from sqlalchemy.orm import Session

from models.ids import new_id
from models.imports import ImportFile, ImportPage
from models.invoice_sheets import read


def keep(
    session: Session, raw: bytes, *, tenant_id: UUID, sent_by: UUID, name: str | None = None
) -> ImportFile:
    """Keep a file of invoices.

    Raises:
        SheetError: it cannot be read as a whole; nothing was kept.
    """
    sheet = read(raw)
    file = ImportFile(
        id=new_id(),
        tenant_id=tenant_id,
        name=name,
        sha256=sha256(raw).hexdigest(),
        size=len(raw),
        columns=sheet.columns,
        lines=sheet.lines,
        groups=len(sheet.groups),
        pages=0,
        sent_by=sent_by,
    )
    session.add(file)
    session.flush()
    for position, groups in enumerate(sheet.pages()):
        session.add(
            ImportPage(
                id=new_id(),
                file_id=file.id,
                position=position,
                groups=[[[line, cells] for line, cells in group] for group in groups],
            )
        )
        file.pages = position + 1
    session.flush()
    return file
