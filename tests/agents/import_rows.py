"""What the tests of importing share: rows of a path, and the workers' own readers on them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from agents.importers.chat import chat_form_reader
from agents.importers.chat_message import ChatOptions
from agents.importers.expand import Reader, open_entry
from agents.importers.source import Row, Source
from agents.importers.sql import SqlEntry
from streams.model_file import load_model
from streams.read_chat import chat_reader
from streams.read_product import product_reader
from streams.read_syslog import syslog_reader
from streams.read_transactions import transaction_reader
from streams.reading import Reading

FORMS = Path(__file__).parent / "forms"
_CATALOGUE = load_model("").catalogue
WORKERS_READ: dict[str, Callable[[bytes], Reading]] = {
    "chat": chat_reader({}, 200),
    "events": product_reader(_CATALOGUE, 200),
    "transactions": transaction_reader("USD", 200),
    "activities": syslog_reader(_CATALOGUE, {}, lambda: 1_770_000_000.0, zone="UTC", year=2026, max_id=200),
}


def rows_in(entry: Path | str | SqlEntry, reader: Reader) -> list[Row]:
    """Return all rows of a file, folder, archive or query."""
    source = open_entry(str(entry) if isinstance(entry, Path) else entry)
    try:
        return list(reader(source))
    finally:
        source.close()


def rows_of_text(text: str | bytes, reader: Callable[[Source], Iterator[Row]], name: str = "file") -> list[Row]:
    """Return all rows of a file with this content."""
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return list(reader(Source(name, stream, stream, None)))


def chat(form: str = "auto", **options: Any) -> Reader:
    """Return the reader of a chat's export."""
    return chat_form_reader(form, ChatOptions(**options), None, None)


def messages(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return what is sent."""
    return [json.loads(row.value) for row in rows if row.value is not None]


def problems(rows: Iterable[Row]) -> list[str | None]:
    """Return what is said of each row."""
    return [row.problem for row in rows]


def readings(kind: str, rows: Iterable[Row]) -> list[Reading]:
    """Return what the workers make of what is sent; raises where they refuse."""
    return [WORKERS_READ[kind](row.value) for row in rows if row.value is not None]
