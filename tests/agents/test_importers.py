"""Importing: what readers make of files, and what is in Kafka after an import was killed and run again."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from agents.cli_import import import_group
from agents.importers.chat import read_chat
from agents.importers.events import read_events
from agents.importers.mail import read_mail
from agents.importers.mapping import parse_rules, product
from agents.importers.progress_file import ProgressFile
from agents.importers.source import MAX_LINE_BYTES, InputError, Row, Source, open_source
from agents.importers.syslog import read_syslog
from agents.importers.transactions import FIELDS as TRANSACTION_FIELDS
from agents.importers.transactions import read_transactions
from streams.sender import RecordTooLargeError, Sender, SendError
from streams.settings import Settings, override

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ORGPULSE_TEST_DATA", ROOT.parent / "shared" / "data"))


def data_file(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the data set {path} is not here; ORGPULSE_TEST_DATA names the folder")
    return path


def source_of(text: str | bytes, name: str = "file") -> Source:
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return Source(name, stream, stream, None)


def values(rows: Iterator[Row]) -> list[dict[str, Any]]:
    return [json.loads(row.value) for row in rows if row.value is not None]


def rows_of(path: Path, reader: Callable[[Source], Iterator[Row]]) -> list[Row]:
    source = open_source(str(path))
    try:
        return list(reader(source))
    finally:
        source.close()


MAILS = textwrap.dedent("""\
    From ann@example.org  Fri May 22 13:38:22 2015
    From: Ann Lee <Ann@Example.org>
    Date: Fri, 22 May 2015 06:38:22 -0500
    Message-ID: <a@example.org>

    From the beginning of this line it is no new mail.

    From here neither: no time and no year.

    From bob@example.org  Fri May 22 14:00:00 2015
    From: bob at example.org (Bob)
    Date: Fri, 22 May 2015 12:00:00 -0000
    Message-ID: <b@example.org>
    In-Reply-To: Your message of Friday
     <a@example.org> <c@example.org>

    body
    """)


def test_a_mail_becomes_a_message_with_its_time_zone_author_and_first_parent() -> None:
    first, second = values(read_mail(source_of(MAILS, "list.mbox"), channel=None, org="guild"))
    assert first == {
        "message_id": "a@example.org",
        "author": "ann@example.org",
        "time": "2015-05-22T06:38:22-05:00",
        "channel": "list",
        "org_id": "guild",
    }
    assert second["author"] == "bob@example.org"
    assert second["in_reply_to"] == "a@example.org"
    assert second["time"] == "2015-05-22T12:00:00+00:00"


def test_a_mail_without_a_zone_is_said_and_one_without_a_date_still_goes_to_the_dead_letters() -> None:
    undated = "From x@y  Fri May 22 14:00:00 2015\nFrom: x@y\nDate: someday\nMessage-ID: <u@y>\n\n"
    rows = list(read_mail(source_of(MAILS + "\n" + undated), channel="list", org=None))
    assert [row.problem for row in rows] == [None, "no_zone_read_as_utc", "bad_time"]
    assert json.loads(rows[2].value or b"")["time"] == "someday"


def test_the_mail_archive_gives_the_published_counts() -> None:
    path = data_file("mail/r-package-devel.mbox.gz")
    rows = rows_of(path, lambda source: read_mail(source, channel=None, org=None))
    first_of_id: dict[str, dict[str, Any]] = {}
    for mail in values(iter(rows)):
        first_of_id.setdefault(mail["message_id"], mail)
    replies = [mail for mail in first_of_id.values() if "in_reply_to" in mail]
    parents = [first_of_id.get(mail["in_reply_to"]) for mail in replies]
    assert len(rows) == 11_114
    assert sum(row.problem == "no_zone_read_as_utc" for row in rows) == 2
    assert {row.problem for row in rows} == {None, "no_zone_read_as_utc"}
    assert len(first_of_id) == 11_111
    assert len({mail["author"] for mail in first_of_id.values()}) == 1_093
    assert len(replies) == 8_771
    assert parents.count(None) == 364
    assert sum(p is not None and p["author"] == m["author"] for p, m in zip(parents, replies, strict=True)) == 378
    assert {row.key for row in rows} == {b"r-package-devel"}


@pytest.mark.parametrize(
    ("name", "messages", "authors", "replies"),
    [("chat/ubuntu-irc.jsonl.gz", 153_787, 13_008, 37_474), ("chat/lean-zulip.jsonl.gz", 59_150, 1_606, 0)],
)
def test_the_chat_sets_give_the_published_counts(name: str, messages: int, authors: int, replies: int) -> None:
    rows = rows_of(data_file(name), lambda source: read_chat(source, (), channel=None, org="guild"))
    chats = values(iter(rows))
    assert len(chats) == messages
    assert {row.problem for row in rows} == {None}
    assert len({chat["author"] for chat in chats}) == authors
    assert sum("in_reply_to" in chat for chat in chats) == replies
    assert not any("topic" in chat or "all_reply_links" in chat for chat in chats)


def test_the_retail_set_adds_up_to_the_published_volume_exactly() -> None:
    rules = parse_rules(
        ["amount=Quantity*UnitPrice", "time=InvoiceDate", "status:=A", "org_id=Country"], TRANSACTION_FIELDS
    )
    path = data_file("transactions/online-retail-2011-01.csv.gz")
    sales = values(iter(rows_of(path, lambda source: read_transactions(source, rules))))
    assert len(sales) == 35_147
    assert sum(Decimal(sale["amount"]) for sale in sales) == Decimal("560000.260")
    assert len({sale["transaction_id"] for sale in sales}) == 35_147
    assert len({sale["org_id"] for sale in sales}) == 24


def test_the_wikipedia_set_takes_its_org_from_a_dotted_path() -> None:
    rules = parse_rules(["org_id=properties.channel"], {"org_id"})
    path = data_file("events/wikipedia-edits.jsonl.gz")
    events = values(iter(rows_of(path, lambda source: read_events(source, rules, org=None))))
    assert len(events) == 39_244
    assert len({event["org_id"] for event in events}) == 51
    assert len({event["distinct_id"] for event in events}) == 10_531


@pytest.mark.parametrize("name", ["syslog/linux.log", "syslog/openssh.log"])
def test_syslog_lines_pass_unchanged_but_for_their_line_end(name: str) -> None:
    path = data_file(name)
    rows = rows_of(path, lambda source: read_syslog(source, key=None))
    assert [row.value for row in rows] == path.read_bytes().replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    assert len(rows) == 2_000
    assert {row.problem for row in rows} == {None}


def test_an_event_that_needs_no_mapping_goes_on_byte_for_byte() -> None:
    line = b'{"event": "Search",  "properties": {"distinct_id": 7, "time": 1, "ratio": 0.10}}'
    assert [row[:2] for row in read_events(source_of(line), (), org=None)] == [(b"7", line)]


def test_a_mapped_export_event_takes_the_contracts_own_form() -> None:
    line = '{"event": "Search", "properties": {"distinct_id": 7, "time": 1, "$insert_id": "a", "team": "red"}}'
    rules = parse_rules(["org_id=properties.team"], {"org_id"})
    assert values(read_events(source_of(line), rules, org=None)) == [
        {"name": "Search", "distinct_id": 7, "time": 1, "event_id": "a", "properties": {"team": "red"}, "org_id": "red"}
    ]


def test_what_is_no_json_is_sent_as_it_stands_for_the_dead_letters() -> None:
    rows = list(read_events(source_of(b'{"name":\n[1]\n\n\xff\xfe\n'), (), org=None))
    assert [row.value for row in rows] == [b'{"name":', b"[1]", b"\xff\xfe"]
    assert {row.problem for row in rows} == {"not_a_json_object"}


def test_presence_samples_are_keyed_by_server_and_keep_no_channel() -> None:
    sample = '{"type":"presence","server":"hq","time":"2026-01-01T00:00:00Z","online":12}'
    row = next(read_chat(source_of(sample), (), channel="general", org=None))
    assert (row.key, row.problem) == (b"hq", None)
    assert json.loads(row.value or b"") == json.loads(sample)


def test_amounts_are_multiplied_exactly_and_never_rounded() -> None:
    assert product({"a": "3", "b": "0.1"}, ("a", "b")) == "0.3"
    assert product({"a": "12345678901234567890.12", "b": "98765432109876543210.21"}, ("a", "b")) == (
        "1219326311370217952251908245533707971342.1252"  # as whole numbers of hundredths
    )
    assert product({"a": "1e400"}, ("a", "a")) is not None
    assert product({"a": "abc", "b": "2"}, ("a", "b")) is None
    assert product({"a": "NaN", "b": "2"}, ("a", "b")) is None


def test_json_amounts_keep_their_digits() -> None:
    line = '{"org_id":"o","amount":1234567890123456.10,"status":"A","time":"2026-01-01T00:00:00Z"}'
    assert values(read_transactions(source_of(line), ()))[0]["amount"] == "1234567890123456.10"


def test_a_bad_amount_is_counted_and_still_sent_as_evidence() -> None:
    rules = parse_rules(["amount=pieces*price", "org_id:=o", "status:=A"], TRANSACTION_FIELDS)
    text = "pieces,price,time\n2,free,2026-01-01T00:00:00Z\n"
    row = next(read_transactions(source_of(text), rules))
    assert row.problem == "bad_amount"
    assert json.loads(row.value or b"")["amount"] == "2*free"


def test_csv_cells_may_hold_line_ends_and_a_short_row_is_said() -> None:
    text = '\ufefforg_id,amount,status,time,note\no,1,A,2026-01-01T00:00:00Z,"two\nlines"\no,2,A\n'
    rows = list(read_transactions(source_of(text, "sales.csv"), ()))
    assert [json.loads(row.value or b"")["transaction_id"] for row in rows] == ["sales.csv:3", "sales.csv:4"]
    assert [row.problem for row in rows] == [None, "other_number_of_columns"]


def test_an_unknown_column_or_field_is_refused_with_the_nearest_name() -> None:
    rules = parse_rules(["amount=Quantty"], TRANSACTION_FIELDS)
    with pytest.raises(InputError, match="did you mean 'Quantity'"):
        list(read_transactions(source_of("Quantity,time\n1,2\n"), rules))
    with pytest.raises(InputError, match="did you mean 'amount'"):
        parse_rules(["amont=Quantity"], TRANSACTION_FIELDS)


def test_a_line_over_the_limit_is_held_back_and_the_next_one_is_read() -> None:
    rows = list(read_syslog(source_of(b"x" * (3 * MAX_LINE_BYTES) + b"\n{}\n"), key=None))
    assert [(row.value, row.problem) for row in rows] == [(None, "too_large"), (b"{}", None)]


def test_gzip_is_told_by_content_and_a_damaged_file_says_so(tmp_path: Path) -> None:
    packed = tmp_path / "chat.txt"
    packed.write_bytes(gzip.compress(b'{"a": 1}\n' * 50_000))
    assert len(rows_of(packed, lambda source: read_events(source, (), org=None))) == 50_000
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged or cut off"):
        rows_of(packed, lambda source: read_events(source, (), org=None))


def test_a_position_holds_for_a_file_that_grew_and_not_for_another_one(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("one\n")
    memory = ProgressFile.of(tmp_path / "state", str(file), "topic")
    memory.remember(1)
    file.write_text("one\ntwo\n")
    assert memory.recall() == 1
    file.write_text("uno\ntwo\n")
    assert memory.recall() == 0
    assert ProgressFile.of(tmp_path / "state", str(file), "topic made anew").recall() == 0


def test_a_dry_run_needs_no_broker_and_shows_counts_messages_and_problems(tmp_path: Path) -> None:
    file = tmp_path / "list.mbox"
    file.write_text(MAILS)
    settings = override(Settings(), {"kafka.brokers": "127.0.0.1:1"})
    result = CliRunner().invoke(import_group, ["mail", str(file), "--dry-run"], obj=settings)
    assert result.exit_code == 0, result.output
    assert "2 rows read, 2 would be sent to chat-messages" in result.output
    assert "no_zone_read_as_utc: 1 (sent; first: list.mbox, row 2)" in result.output
    assert '"message_id":"a@example.org"' in result.output


# --- on the real broker ---------------------------------------------------------------------------


def create_topics(bootstrap: str, *names: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name, 4, 1) for name in names])
    admin.close()


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Return all records of a topic, up to its end as of now."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        records: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for found in consumer.poll(timeout_ms=1000).values():
                records += found
        return records
    finally:
        consumer.close()


_RUN = """
import sys
from agents.cli_import import import_group
from streams.settings import Settings, override
import_group(obj=override(Settings(), {"kafka.brokers": sys.argv.pop(1), "kafka.prefix": sys.argv.pop(1)}))
"""


@pytest.mark.kafka
def test_an_import_that_was_killed_continues_and_loses_nothing(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    rows, state = 80_000, tmp_path / "state"
    create_topics(kafka.bootstrap, f"{topic_prefix}product-events")
    file = tmp_path / "events.jsonl"
    with file.open("w") as out:
        for number in range(rows):
            out.write(f'{{"event_id":"e{number}","name":"Search","distinct_id":"u{number % 99}","time":1}}\n')
    command = [
        sys.executable,
        "-c",
        _RUN,
        kafka.bootstrap,
        topic_prefix,
        "events",
        str(file),
        "--state-dir",
        str(state),
    ]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for _ in process.stderr:  # one line per 20,000 rows
            if list(state.glob("*.json")):
                process.kill()
                break
    assert process.returncode == -9, "the import ended before it could be killed"

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    passed_over = int(again.stdout.split(" rows were sent by an earlier run")[0].split("\n")[-1].replace(",", ""))
    ids = [
        json.loads(record.value)["event_id"] for record in read_topic(kafka.bootstrap, f"{topic_prefix}product-events")
    ]
    assert passed_over > 0
    assert set(ids) == {f"e{number}" for number in range(rows)}
    assert f"{rows - passed_over:,} sent to" in again.stdout, "the second run took up where the first was remembered"
    assert rows <= len(ids) < 2 * rows


@pytest.mark.kafka
def test_a_finished_import_sends_nothing_again_until_told_to(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    create_topics(kafka.bootstrap, f"{topic_prefix}chat-messages")
    file = tmp_path / "list.mbox"
    file.write_text(MAILS)
    settings = override(Settings(), {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix})

    def run(*more: str) -> str:
        arguments = ["mail", str(file), "--state-dir", str(tmp_path / "state"), *more]
        result = CliRunner().invoke(import_group, arguments, obj=settings)
        assert result.exit_code == 0, result.output
        return result.output

    assert "2 sent" in run()
    assert "0 sent" in run()
    assert "2 sent" in run("--channel", "other"), "another option makes other messages"
    assert "2 sent" in run("--restart")
    assert len(read_topic(kafka.bootstrap, f"{topic_prefix}chat-messages")) == 6


@pytest.mark.kafka
def test_a_missing_topic_is_told_with_what_to_do(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    file = tmp_path / "list.mbox"
    file.write_text(MAILS)
    settings = override(Settings(), {"kafka.brokers": kafka.bootstrap, "kafka.prefix": topic_prefix})
    result = CliRunner().invoke(import_group, ["mail", str(file), "--state-dir", str(tmp_path)], obj=settings)
    assert result.exit_code == 1
    assert "orgpulse topics create" in result.output


@pytest.mark.kafka
def test_the_sender_puts_keys_where_other_kafka_clients_do_and_counts_acknowledgements(
    kafka: Any, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}keys"
    create_topics(kafka.bootstrap, topic)
    with Sender([kafka.bootstrap]) as sender:
        for number in range(2_000):
            sender.send(topic, f"key-{number % 7}".encode(), str(number).encode())
        sender.flush()
        assert (sender.sent, sender.acknowledged) == (2_000, 2_000)
        with pytest.raises(RecordTooLargeError):
            sender.send(topic, None, b"x" * 2_000_000)
        sender.send(topic, b"key-0", None)
    records = read_topic(kafka.bootstrap, topic)
    assert len(records) == 2_001
    by_key: dict[bytes, set[int]] = {}
    for record in records:
        by_key.setdefault(record.key, set()).add(record.partition)
    assert all(len(partitions) == 1 for partitions in by_key.values())
    in_order = [int(record.value) for record in records if record.key == b"key-3"]
    assert in_order == sorted(in_order)


def test_no_broker_is_an_error_with_its_address_after_the_patience() -> None:
    with pytest.raises(SendError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        Sender(["127.0.0.1:1"], patience_seconds=1.0)
