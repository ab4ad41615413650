"""Times reading each form of import: rows a second from a file to finished messages, on one core, without Kafka.

python -m tests.bench.import_forms --rows 100000
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agents.importers.activities import read_activities
from agents.importers.events import read_events
from agents.importers.expand import Reader, over_files
from agents.importers.mail import read_mail
from agents.importers.maildir import over_maildirs
from agents.importers.mapping import parse_rules
from agents.importers.run import ImportRun
from agents.importers.snowplow import COLUMNS
from agents.importers.sql import SqlEntry
from agents.importers.syslog import read_syslog
from agents.importers.transactions import FIELDS, read_transactions
from tests.agents.import_rows import chat

START = 1_767_600_000
TEXT = "Could somebody have a look at this, please? It is said to be quick. " * 3
MAPPED = parse_rules(["amount=pieces*price", "org_id=org", "status:=A", "time=at"], FIELDS)


def iso(n: int) -> str:
    """Return the time of row *n*."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + n))


def lines(folder: Path, name: str, rows: Iterator[str], head: str = "", tail: str = "", between: str = "\n") -> Path:
    """Write a file of rows."""
    (folder / name).write_text(head + between.join(rows) + tail)
    return folder / name


def sales(folder: Path, rows: int) -> Iterator[tuple[str, Any, Reader]]:
    """Yield transactions as CSV, Parquet and JSON lines."""

    def read(source: Any) -> Any:
        return read_transactions(source, MAPPED, delimiter=None)

    cells = [(f"t{n}", n % 9, "12.50", f"org-{n % 400}", iso(n)) for n in range(rows)]
    csv = (f"{id_},{pieces},{price},{org},{at}" for id_, pieces, price, org, at in cells)
    yield (
        "transactions: CSV, amount a product",
        lines(folder, "s.csv", csv, "transaction_id,pieces,price,org,at\n"),
        read,
    )
    names = ("transaction_id", "pieces", "price", "org", "at")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*cells, strict=True)), strict=True))), folder / "s.parquet")
    yield "transactions: Parquet, the same", folder / "s.parquet", read
    done = (
        json.dumps({"transaction_id": i, "org_id": o, "amount": "1.50", "status": "A", "time": t})
        for i, _, _, o, t in cells
    )
    yield "transactions: JSON lines as they are", lines(folder, "s.jsonl", done), lambda s: read_transactions(s, ())


def logs(folder: Path, rows: int) -> Iterator[tuple[str, Any, Reader]]:
    """Yield an activity log as a query, and syslog."""
    with closing(sqlite3.connect(folder / "log.db")) as base, base:
        base.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, org INT, userid TEXT, created TEXT, ghost INT)")
        base.executemany(
            "INSERT INTO log VALUES (?, ?, ?, ?, 0)", ((n, n % 40, f"u{n % 99}", iso(n)) for n in range(rows))
        )
    yield "activities: query (SQLite)", SqlEntry(f"sqlite:///{folder}/log.db", "SELECT * FROM log ORDER BY id"), (
        lambda s: read_activities(s, ())
    )  # fmt: skip
    text = (f'<134>1 {iso(n)} host app - - [x@1 org="7" userid="u{n % 99}" id="{n}"] did it' for n in range(rows))
    yield "syslog: RFC 5424", lines(folder, "app.log", text), lambda s: read_syslog(s, key=None)


def events(folder: Path, rows: int) -> Iterator[tuple[str, Any, Reader]]:
    """Yield product events in all forms."""

    def read(source: Any) -> Any:
        return read_events(source, (), org=None)

    export = (
        json.dumps({"event": "Search", "properties": {"distinct_id": f"u{n % 99}", "time": START + n, "$insert_id": n}})
        for n in range(rows)
    )
    yield "events: Mixpanel export as it is", lines(folder, "m.jsonl", export), read
    calls = (
        json.dumps({"type": "track", "event": "Search", "userId": f"u{n % 99}", "messageId": f"m{n}",
                    "timestamp": iso(n),
                    "context": {"ip": "192.0.2.7", "userAgent": "Mozilla/5.0"}, "properties": {"q": "x", "n": n}})
        for n in range(rows)
    )  # fmt: skip
    yield "events: Segment", lines(folder, "g.jsonl", calls), read
    row = {"app_id": "shop", "collector_tstamp": "2026-01-05 09:01:01.041", "event": "unstruct", "event_name": "add",
           "unstruct_event": '{"data":{"data":{"sku":"A1"}}}'}  # fmt: skip
    tabs = (
        "\t".join({**row, "event_id": f"e{n}", "user_id": f"u{n % 99}"}.get(name, "") for name in COLUMNS)
        for n in range(rows)
    )
    yield "events: Snowplow, 131 columns", lines(folder, "w.tsv", tabs), read


def chats(folder: Path, rows: int) -> Iterator[tuple[str, Any, Reader]]:
    """Yield the exports of chats."""

    def messages(**fields: Any) -> Iterator[str]:
        for n in range(rows):
            yield json.dumps({name: value(n) if callable(value) else value for name, value in fields.items()})

    plain = messages(message_id=lambda n: n, author=lambda n: f"u{n % 99}", time=iso, channel="help", text=TEXT)
    yield "chat: JSON lines", lines(folder, "c.jsonl", plain), chat()
    discord = (
        json.dumps({"id": str(n), "type": "Reply", "timestamp": iso(n), "timestampEdited": None, "content": TEXT,
                    "author": {"id": str(n % 99), "name": "ann", "isBot": False, "roles": [{"id": "1"}]},
                    "attachments": [], "embeds": [], "reactions": [], "reference": {"messageId": str(n - 1)}}, indent=2)
        for n in range(rows)
    )  # fmt: skip
    head = '{"guild": {"id": "1"}, "channel": {"id": "2", "type": "GuildTextChat", "name": "c"}, "messages": ['
    yield "chat: DiscordChatExporter", lines(folder, "d.json", discord, head, "]}", ","), chat()
    documents = (
        json.dumps({"time": {"$date": iso(n * 600)}, "online-members": 400, "messages-sent": 9,
                    "quantities": {"1": {"$numberInt": "4"}, "2": 3, "3": 2}}) for n in range(rows // 10)
    )  # fmt: skip
    yield "chat: counting bot, 10 rows a document", lines(folder, "activity.json", documents), chat(server="g")
    slack = list(messages(type="message", user=lambda n: f"U{n % 99}", ts=lambda n: f"{START + n}.000100", text=TEXT,
                          blocks=[{"type": "rich_text", "elements": [{"type": "text", "text": TEXT}]}]))  # fmt: skip
    with zipfile.ZipFile(folder / "slack.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        people = [{"id": f"U{n}", "name": f"u{n}", "profile": {"email": f"u{n}@example.org"}} for n in range(99)]
        archive.writestr("users.json", json.dumps(people))
        archive.writestr("channels.json", json.dumps([{"id": "C1", "name": "general"}]))
        for day in range(20):
            part = slack[day * rows // 20 : (day + 1) * rows // 20]
            archive.writestr(f"general/2026-01-{day + 1:02}.json", "[" + ",\n".join(part) + "]")
    yield "chat: Slack, zip", folder / "slack.zip", chat()
    zulip = messages(id=lambda n: n, sender_id=lambda n: n % 99, sender_email=lambda n: f"u{n % 99}@example.org",
                     timestamp=lambda n: START + n, display_recipient="g", type="stream", content=TEXT)  # fmt: skip
    yield "chat: Zulip's API", lines(folder, "z.jsonl", zulip), chat()


def mails(folder: Path, rows: int) -> Iterator[tuple[str, Any, Reader]]:
    """Yield mail as an archive and as a maildir (a tenth of the rows: every mail is a file)."""

    def header(n: int) -> str:
        date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(START + n))
        return f"From: Ann Lee <u{n % 99}@example.org>\nDate: {date}\nMessage-ID: <{n}@x>\nIn-Reply-To: <{n - 1}@x>\n\n"

    rows //= 4
    mbox = (f"From u at x  Mon Jan  5 10:00:00 2026\n{header(n)}{TEXT}\n" for n in range(rows))
    reader = over_files(lambda s: read_mail(s, channel=None, org=None))
    yield "mail: mbox or pipermail", lines(folder, "list.mbox", mbox), reader
    (folder / "box" / "cur").mkdir(parents=True)
    for n in range(rows // 4):
        (folder / "box" / "cur" / f"{START + n}.M1.host:2,S").write_text(header(n) + TEXT)
    yield "mail: maildir", folder / "box", over_maildirs(reader, channel=None, org=None)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    makers: tuple[Callable[[Path, int], Iterator[tuple[str, Any, Reader]]], ...] = (sales, logs, events, chats, mails)
    for make in makers:
        with tempfile.TemporaryDirectory() as folder:
            for name, entry, reader in make(Path(folder), rows):
                began = time.process_time()
                tally = ImportRun(reader, "topic", None, None).run([str(entry) if isinstance(entry, Path) else entry])
                seconds = time.process_time() - began
                print(f"{name:42} {tally.sent / seconds:>10,.0f} rows/s   {sorted(tally.problems)}", flush=True)


if __name__ == "__main__":
    main()
