"""Files of invoices: the template, and one that is sent to be imported."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import RequestEntityTooLarge

from models import import_files
from models.imports import ImportFile
from models.invoice_sheets import MOST_BYTES, SheetError, template
from models.tenants import Permission
from web.auth import allowed, caller
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, Moment
from worker.database import in_transaction

PREFIX = "/api/v1/imports"
routes = Routes("import_files", __name__, url_prefix=PREFIX)

# What a form's parts have around the file.
AROUND = 64 * 1024
TAKEN = frozenset({"text/csv", "application/csv", "application/vnd.ms-excel"})
CSV: dict[str, Any] = {
    "description": "The file",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}


class FileQuery(Input):
    """How the file is called, for whoever looks at the list of imports."""

    name: str | None = Field(None, min_length=1, max_length=255, pattern=ONE_LINE)


class FileAnswer(BaseModel):
    """A file that was read: so many lines, which are so many invoices."""

    id: UUID
    name: str | None
    sha256: str
    size: int
    columns: list[str]
    lines: int
    invoices: int
    created_at: Moment


@routes.get("/template.csv", responses={200: CSV})
@allowed(Permission.OPERATIONS)
def read_template() -> Response:
    """Return a file of invoices to begin with: all columns, and two invoices as examples."""
    return respond_csv(template(), "invoices.csv")


@routes.post("/files", responses={201: FileAnswer})
@allowed(Permission.OPERATIONS)
def send_file(query: FileQuery) -> Response:
    """Send invoices as `text/csv`, or as the part `file` of a form; nothing is imported yet.

    At most 5 MiB and 20,000 lines (413), in UTF-8, with commas or semicolons, and a header of
    known columns (422). It is kept for 30 days.
    """
    raw, name = _sent()
    who = caller()
    try:
        file = in_transaction(
            import_files.keep,
            None,
            raw,
            tenant_id=who.tenant_id,
            sent_by=who.user_id,
            name=query.name or name,
        )
    except SheetError as error:
        raise Problem("too-large" if error.is_too_large else "invalid", str(error)) from None
    return respond(shown_file(file), 201)


def _sent() -> tuple[bytes, str | None]:
    request.max_content_length = MOST_BYTES + AROUND
    if request.headers.get("Content-Encoding"):
        raise Problem("unsupported-media-type", "Send the file as it is, not compressed.")
    try:
        if request.mimetype in TAKEN:
            return request.get_data(), None
        if request.mimetype != "multipart/form-data":
            raise Problem("unsupported-media-type", "The body must be text/csv, or a form.")
        part = request.files.get("file")
        if part is None:
            raise Problem("invalid", "The form has no file of the name `file`.")
        name = "".join(each for each in part.filename or "" if each.isprintable())
        return part.read(), name[:255] or None
    except RequestEntityTooLarge:
        raise Problem("too-large", f"The file is larger than {MOST_BYTES:,} bytes.") from None


def shown_file(file: ImportFile) -> dict[str, Any]:
    """Return a file as it is answered."""
    return {
        "id": file.id,
        "name": file.name,
        "sha256": file.sha256,
        "size": file.size,
        "columns": file.columns,
        "lines": file.lines,
        "invoices": file.groups,
        "created_at": file.created_at,
    }


def respond_csv(text: str, name: str) -> Response:
    """Return a file that a browser saves."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, 200, headers, content_type="text/csv; charset=utf-8")
