"""A report as a file: CSV that no spreadsheet takes for formulas, Parquet with exact types, JSON.

`results` is `{"columns": [{"name", "kind", "unit"}], "rows": [[...]]}`; values are text, or null.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from models.invoice_sheets import harmless

# As the roll-ups keep a value, and wide enough for a sum of many.
PRECISION, SCALE = 38, 4
PARQUET = "application/vnd.apache.parquet"


def csv_of(results: Mapping[str, Any]) -> str:
    """Return a report as CSV. Only text can be a formula: a number is written as it is."""
    told = io.StringIO()
    writer = csv.writer(told, lineterminator="\r\n")
    kinds = [column["kind"] for column in results["columns"]]
    writer.writerow(harmless(column["name"]) for column in results["columns"])
    for row in results["rows"]:
        writer.writerow(_cell(kind, value) for kind, value in zip(kinds, row, strict=True))
    return told.getvalue()


def _cell(kind: str, value: str | None) -> str:
    if value is None:
        return ""
    return value if kind == "number" else harmless(value)


def parquet_of(results: Mapping[str, Any]) -> bytes:
    """Return a report as Parquet: days as dates, values as decimals, the rest as text."""
    # Takes a while to import, and only this asks for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"date": pa.date32(), "number": pa.decimal128(PRECISION, SCALE), "text": pa.string()}
    columns = results["columns"]
    schema = pa.schema(
        [
            pa.field(each["name"], types[each["kind"]], metadata=_about(each.get("unit")))
            for each in columns
        ]
    )
    arrays = [
        pa.array([_exact(each["kind"], row[at]) for row in results["rows"]], types[each["kind"]])
        for at, each in enumerate(columns)
    ]
    told = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), told, compression="zstd")
    return told.getvalue()


def _about(unit: str | None) -> dict[str, str] | None:
    return {"unit": unit} if unit else None


def _exact(kind: str, value: str | None) -> date | Decimal | str | None:
    if value is None or kind == "text":
        return value
    return date.fromisoformat(value) if kind == "date" else Decimal(value)
