"""Whatever a file holds: an import reads it to its end or says in one sentence why not, within bounds."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.importers.activities import read_activities
from agents.importers.events import read_events
from agents.importers.json_scan import MAX_VALUE_BYTES, Scanner
from agents.importers.mail import read_mail
from agents.importers.mapping import product
from agents.importers.recode import recoded
from agents.importers.source import InputError, Row, Source
from agents.importers.transactions import read_transactions
from streams.reading import Rejected
from tests.agents.import_rows import FORMS, WORKERS_READ, chat, rows_of_text

READERS: dict[str, Callable[[Source], Iterator[Row]]] = {
    "events": lambda s: read_events(s, (), org=None),
    "transactions": lambda s: read_transactions(s, (), delimiter=None),
    "activities": lambda s: read_activities(s, (), delimiter=None),
    "mail": lambda s: read_mail(s, channel=None, org=None),
    **{form: chat(form, server="guild") for form in ("auto", "discord", "discord-activity", "zulip", "json", "table")},
}
SEEDS = [path.read_bytes() for path in sorted(FORMS.rglob("*")) if path.is_file()]
SEEDS += [
    bson.encode({"time": 5, "online-members": 3, "quantities": {"1": 2}}),
    b"org_id,amount,status,time\r\no,1,A,2026-01-05\r\n",
    b'id\torg\tuserid\tcreated\n1\t2\t"3\n4"\t5\n',
    gzip.compress(b"{}\n"),
    b"PAR1\x15\x04PAR1",
]
_PIECES = st.sampled_from(
    [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b"NaN", b"1e999",
     b'{"a":' * 2_000, b"\xed\xa0\x80", b"\t" * 130, b'"time":' + b"9" * 40, b"\xc3",
     rb'"\ud800":1,', b"\x1b[2J", b"9" * 30,
     b"From a  Mon Jan  5 10:01:01 2026\n"]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file, cut, doubled, and with pieces put in at any place."""
    content = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        until = draw(st.integers(at, min(len(content), at + 80)))
        content = content[:at] + draw(_PIECES) + content[until:]
    return content


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None)
@given(content=st.one_of(damaged(), st.binary(max_size=300)), short=st.integers(1, 7))
def test_every_reader_ends_and_every_message_is_read_or_refused(name: str, content: bytes, short: int) -> None:
    kind = name if name in WORKERS_READ else "chat"
    try:
        rows = rows_of_text(content, READERS[name])
    except InputError as error:
        assert str(error)
        return
    for row in rows:
        assert row.value is not None or row.problem, "what is held back says why"
        if row.value is not None:
            try:
                WORKERS_READ[kind](row.value)
            except Rejected as error:
                assert error.reason
    assert rows_of_text(content, READERS[name]) == rows, "the same rows on every reading"


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=12,
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 0, 2]),
    piece=st.integers(1, 9),
    ascii_only=st.booleans(),
)
def test_values_are_cut_out_of_any_json_wherever_the_pieces_end(
    values: list[Any], indent: int | None, piece: int, ascii_only: bool
) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(piece)

    def source(document: Any) -> Source:
        text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
        stream = Trickle(text)
        return Source("file", stream, stream, None)

    assert [json.loads(value or b"") for value in Scanner(source(values)).values()] == values
    document = {"skipped": values, "wanted": values, "one": {"a": values}, "last": "]}"}
    found = list(Scanner(source(document)).members(frozenset({"wanted"}), frozenset({"one"})))
    assert [(name, json.loads(value or b"")) for name, value in found] == [
        *(("wanted", value) for value in values), ("one", {"a": values}),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["events", "transactions", "activities", "zulip", "json"])
def test_a_number_beyond_every_decimal_is_evidence_and_no_crash(name: str) -> None:
    line = b'{"amount": 1e99999999999999999999999, "org_id": "o", "time": 5}'
    assert [row[:3] for row in rows_of_text(line, READERS[name])] == [(None, line, "not_a_json_object")]


def test_an_amount_with_a_huge_exponent_is_not_written_out() -> None:
    line = b'{"amount": 1e999999999, "org_id": "o", "time": 1767603661, "status": "A"}'
    value = rows_of_text(line, READERS["transactions"])[0].value or b""
    assert json.loads(value)["amount"] == "1E+999999999"
    with pytest.raises(Rejected, match="bad_amount"):
        WORKERS_READ["transactions"](value)
    assert product({"a": "1e999999999", "b": "1e-5"}, ("a", "b")) is None, "beyond the exact context: a bad amount"


def test_a_huge_value_is_let_go_while_it_is_read_and_the_next_one_is_found() -> None:
    class Endless(io.RawIOBase):
        """`[{"a": "xxx…", "c": […]}, {"b": 1}]` with 100 MB in the first element, most of it one string."""

        pieces = iter(
            [b'[{"a": "', *[b"x" * (1 << 20)] * 100, b'", "c": [', *[b'{"d": "e"},' * 5_000] * 9, b'1]}, {"b": 1}]']
        )

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            return next(self.pieces, b"")

    stream: Any = Endless()
    tracemalloc.start()
    found = list(Scanner(Source("file", stream, stream, None)).values())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [None, b'{"b": 1}']
    assert most < 5 * MAX_VALUE_BYTES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1}, {"b": ', "ends in the middle of a value"),
        ('[{"a": 1}, "b', "ends in the middle of a string"),
        ('[{"a": 1}', "ends in the middle of an array"),
        ("[}", "not JSON at byte 1: a value is wanted here"),
    ],
)
def test_a_document_that_is_cut_off_says_where(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        rows_of_text(text, READERS["events"])


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=200), encoding=st.sampled_from(["utf-16", "utf-16-le", "utf-8", "utf-32", "cp037"]))
def test_text_of_any_encoding_reads_as_utf8(text: str, encoding: str) -> None:
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError:
        return
    stream = io.BytesIO(raw)
    source = recoded(Source("file", stream, stream, None), encoding)
    content = b"".join(iter(lambda: source.read(7), b""))
    assert content == text.encode()


def test_an_encoding_that_does_not_fit_or_does_not_exist_is_told() -> None:
    def reader(encoding: str) -> Callable[[Source], Iterator[Row]]:
        return lambda source: READERS["transactions"](recoded(source, encoding))

    with pytest.raises(InputError, match="not in the encoding given"):
        rows_of_text(b"org_id\n\xff\xff\n", reader("utf-16"))
    with pytest.raises(InputError, match="names are for example latin-1"):
        rows_of_text(b"org_id\n", reader("klingon"))
