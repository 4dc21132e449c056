"""A batch as files: one a day that it has events of, and a manifest that names them.

    analytics_events/date=2026-11-24/part-000000000042.parquet
    analytics_events/_manifests/000000000042.json

Names are made of the batch's number alone, so a batch that is written again writes the same files
over: nobody can leave a twin. The manifest is written last; what it does not name is not there yet.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any
from uuid import UUID

from worker import crash
from worker.lake.places import Place

ROOT = "analytics_events"
MANIFESTS = f"{ROOT}/_manifests"
AMOUNT, QUANTITY = (15, 2), (15, 4)
# In a file the partition's day is not: BigQuery and DuckDB take it from the path.
OWN = ("id", "company_id")
IDS = (*OWN, "user_id", "module_id")
WORDS = ("event_type", "name", "source", "currency", "dimension")


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=name not in OWN) for name in IDS),
            *(pa.field(name, pa.string()) for name in WORDS),
            pa.field("amount", pa.decimal128(*AMOUNT)),
            pa.field("quantity", pa.decimal128(*QUANTITY)),
            pa.field("metadata", pa.string()),
            pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("export_id", pa.int64(), nullable=False),
        ]
    )


def write(place: Place, number: int, events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write a batch's files and then its manifest; return what the manifest names.

    Args:
        events: by day; read once, and held a day at a time.
    """
    files: list[dict[str, Any]] = []
    total = 0
    for day, of_day in groupby(events, key=lambda each: each["date"]):
        path = f"{ROOT}/date={day.isoformat()}/part-{number:012d}.parquet"
        content, rows = _parquet(of_day, number)
        place.put(path, content)
        crash.point("exports.part")
        files.append({"path": path, "rows": rows, "bytes": len(content)})
        total += rows
    crash.point("exports.written")
    manifest = {"number": number, "rows": total, "files": files}
    place.put(f"{MANIFESTS}/{number:012d}.json", json.dumps(manifest).encode())
    crash.point("exports.named")
    return files


def named(place: Place) -> Iterator[str]:
    """Yield the path of each file that is there, as the manifests name them."""
    for name in place.names(MANIFESTS):
        manifest = json.loads(place.read(f"{MANIFESTS}/{name}"))
        yield from (each["path"] for each in manifest["files"])


def _parquet(events: Iterable[Mapping[str, Any]], number: int) -> tuple[bytes, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for event in events:
        for name, values in columns.items():
            values.append(number if name == "export_id" else _plain(event[name]))
    told = io.BytesIO()
    table = pa.Table.from_pydict(columns, schema=schema)
    pq.write_table(table, told, compression="zstd")
    return told.getvalue(), table.num_rows


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return json.dumps(value) if isinstance(value, dict | list) else value
