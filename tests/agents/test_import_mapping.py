"""Mapping files, the report on quality, and what the command line does with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agents.cli import orgpulse
from agents.cli_errors import ToldError
from agents.cli_import import import_group
from agents.cli_import_options import FIELDS
from agents.importers.duplicates import Duplicates
from agents.importers.mapping_file import MappingError, read_mapping, templates
from streams.settings import Settings, SettingsError, override

AWAY = override(Settings(), {"kafka.brokers": "127.0.0.1:1"})


def run(*arguments: str, settings: Settings = AWAY) -> Result:
    return CliRunner().invoke(import_group, list(arguments), obj=settings)


def told(result: Result) -> str:
    """Return what the user reads of a run that failed in a way that users can mend."""
    if isinstance(result.exception, SystemExit):
        return result.output
    assert isinstance(result.exception, MappingError | SettingsError | ToldError), result.exception
    return f"{result.exception.message}\n{result.exception.remedy}"


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """Twenty good sales of January, and two bad ones."""
    file = tmp_path / "sales.csv"
    lines = [f"i{day};acme;{day};0.10;paid;{day}.01.2026 10:00;EUR" for day in range(1, 25) if day not in (7, 8, 9, 20)]
    lines += ["i1;acme;x;0.10;paid;1.01.2026 10:00;EUR", "i1;acme;1;0.10;paid;31.02.2026 10:00;EUR"]
    file.write_text("InvoiceNo;Customer;Pieces;Price;State;When;Cur\n" + "\n".join(lines) + "\n")
    return file


MAPPING = """\
kind = "transactions"
[options]
delimiter = ";"
max-bad-share = "20%"
[fields]
transaction_id = "InvoiceNo"
org_id = "Customer"
amount = "Pieces * Price"
currency = { from = "Cur", values = { EUR = "USD" } }
status = { from = "State", values = { paid = "A" } }
time = { from = "When", format = "%d.%m.%Y %H:%M", zone = "Europe/Vienna" }
"""


def test_a_mapping_file_says_where_fields_come_from_and_the_command_line_wins(sales: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(MAPPING)
    found = run("transactions", str(sales), "--mapping", str(mapping), "--dry-run", "--map", "org_id:=bolt")
    assert found.exit_code == 0, found.output
    first = next(line for line in found.output.splitlines() if line.startswith("{"))
    assert json.loads(first) == {
        "transaction_id": "i1", "org_id": "bolt", "amount": "0.10", "currency": "USD", "status": "A",
        "time": "2026-01-01T10:00:00+01:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("[fields]\namount = \n", "m.toml, line 2: not valid TOML", "toml.io"),
        ("[fields]\n\namont = 'x'\n", "m.toml, line 3: there is no field 'amont'; did you mean 'amount'", "mapping"),
        ("[feilds]\n", "m.toml, line 1: there is no section [feilds]", "[fields]"),
        ("kind = 'chat'\n", "m.toml, line 1: this mapping is for chat, not for transactions", "import chat"),
        ("[options]\ndelimeter = ';'\n", "m.toml, line 2: there is no option delimeter", "delimiter"),
        ("[options]\nmax-bad-share = 'some'\n", "m.toml, line 2: 'some' is no share", "--help"),
        ("[fields]\ntime = { from = 'x', zone = 'Mars' }\n", "m.toml, line 2: no such time zone: 'Mars'", "IANA"),
        ("[fields]\ntime = { form = 'x' }\n", "m.toml, line 2: time is neither a column nor a table", "Write time"),
        ("[fields]\norg_id = 'a * b'\n", "m.toml, line 2: a product needs two columns", "mapping"),
        ("[fields]\nstatus = { from = 's', values = { a = 1 } }\n", "m.toml, line 2: `values` is a table", "ours"),
        ("fields = 3\n", "m.toml, line 1: fields is a table", "[fields]"),
    ],
)
def test_a_mistake_in_a_mapping_file_is_told_with_its_line_and_what_to_do(
    text: str, said: str, remedy: str, sales: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(text)
    output = told(run("transactions", str(sales), "--mapping", str(mapping), "--dry-run"))
    assert said in output
    assert remedy in output.partition(said)[2]


def test_every_mapping_file_that_comes_along_can_be_used(tmp_path: Path) -> None:
    names = run("mapping").output.split()
    assert names == templates() and set(FIELDS) - {"syslog"} <= set(names)
    for name in names:
        text = run("mapping", name).output
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        kind = text.partition('kind = "')[2].partition('"')[0]
        assert read_mapping(file, kind, FIELDS[kind]).rules is not None
        if kind == "mixpanel":  # no files, but an account
            continue
        missing = run(kind, str(tmp_path / "none"), "--mapping", str(file), "--dry-run")
        assert "none: No such file" in missing.output, missing.output


def test_quality_is_reported_and_a_threshold_stops_before_anything_is_sent(sales: Path, tmp_path: Path) -> None:
    mapping, report = tmp_path / "m.toml", tmp_path / "q.json"
    mapping.write_text(MAPPING)
    arguments = ["transactions", str(sales), "--mapping", str(mapping), "--report", str(report)]
    good = run(*arguments, "--dry-run")
    assert good.exit_code == 0, good.output
    found = json.loads(report.read_text())
    assert (found["rows"], found["considered"], found["bad_share"]) == (22, 22, 2 / 22)
    assert {reason: each["count"] for reason, each in found["rejected"].items()} == {"wrong_type": 1, "bad_time": 1}
    assert found["rejected"]["wrong_type"]["first"] == "sales.csv, row 21"
    assert (found["first_day"], found["last_day"], found["empty_days"]) == ("2026-01-01", "2026-01-24", 4)
    assert found["gaps"] == [["2026-01-07", "2026-01-09", 3], ["2026-01-20", "2026-01-20", 1]]
    assert found["statuses"] == {"A": 22} and found["currencies"] == {"USD": 22}
    assert found["approved"] == {"USD": "25.60"}, "what would be a dead letter is in no sum"
    assert "▁" in good.output or "█" in good.output
    bad = run(*arguments, "--check", "--max-bad-share", "1%", "--max-empty-days", "3")
    assert bad.exit_code == 1
    assert "bad rows: 9.1 %, at most 1 % are allowed; days without a row: 4, at most 3" in bad.output
    assert "Nothing was sent" in bad.output
    assert json.loads(report.read_text())["failures"]


def test_missing_columns_empty_ids_the_future_and_doubles_are_found(tmp_path: Path) -> None:
    file, report = tmp_path / "e.jsonl", tmp_path / "q.json"
    lines: list[dict[str, Any]] = [{"name": "Search", "distinct_id": "ann", "time": 1767603661, "event_id": "e1"}] * 3
    lines += [{"name": "Search", "distinct_id": "", "time": 1767603661}]
    lines += [{"name": "Search", "distinct_id": "ann", "time": "1999-12-31T00:00:00Z"}]
    lines += [{"name": "Search", "distinct_id": "ann", "time": "2999-01-01T00:00:00Z"}]
    lines += [{"name": "Search", "distinct_id": "ann", "time": 1767603661 - 86_400 * 100}]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n{broken\n")
    run("events", str(file), "--dry-run", "--report", str(report))
    found = json.loads(report.read_text())
    assert {reason: each["count"] for reason, each in found["rejected"].items()} == {
        "blank_id": 1, "bad_time": 1, "in_the_future": 1, "too_late": 1, "not_json": 1,
    }  # fmt: skip
    assert (found["duplicates"], found["duplicates_watched"]) == (2, 1.0)
    assert found["duplicates_first"] == "e.jsonl, row 2: e1"
    assert found["missing_fields"] == []
    table, report = tmp_path / "t.csv", tmp_path / "t.json"
    table.write_text("org_id,amount,time\nacme,1,2026-01-05T10:00:00Z\n")
    run("transactions", str(table), "--dry-run", "--report", str(report))
    found = json.loads(report.read_text())
    assert found["missing_fields"] == ["status"]
    assert found["filled"]["org_id"] == 1


def test_people_are_looked_up_in_a_directory_file(tmp_path: Path) -> None:
    users, report, file = tmp_path / "users.jsonl", tmp_path / "q.json", tmp_path / "chat.jsonl"
    users.write_text('{"user_id": "7", "org_id": "acme", "email": "Ann@Example.org"}\n{"org_id": "acme"}\n')
    names = ["ann@example.ORG", "7", "stranger", "stranger"]
    said = [{"message_id": n, "author": name, "time": 1767603661, "channel": "c"} for n, name in enumerate(names)]
    file.write_text("\n".join(json.dumps(message) for message in said))
    arguments = ["chat", str(file), "--dry-run", "--report", str(report), "--directory", str(users)]
    failed = run(*arguments, "--max-unresolved", "0.4")
    assert failed.exit_code == 1
    assert "rows of nobody in the directory: 50 %, at most 40 % are allowed" in failed.output
    found = json.loads(report.read_text())
    assert (found["people_rows"], found["unresolved_rows"], found["unresolved_names"]) == (4, 2, {"stranger": 2})
    assert run(*arguments, "--max-unresolved", "50%").exit_code == 0
    unknown = run("chat", str(file), "--dry-run", "--max-unresolved", "50%")
    assert unknown.exit_code == 1, "what can't be known is not good enough"
    assert "no Kafka broker answers at 127.0.0.1:1" in unknown.output.replace("\n", " ")
    users.write_text('{"user_id": "7"}\n')
    assert "users.jsonl, line 1: neither a user nor an org" in run(*arguments).output


def test_beyond_its_memory_duplicates_are_estimated_from_a_known_share() -> None:
    found = Duplicates(most=1_000)
    for turn in range(2):
        for number in range(20_000):
            found.note(f"x{number}", f"row {turn}")
    assert found.watched <= 1 / 16
    assert abs(found.count - 20_000) < 4_000
    assert len(found._seen) <= 1_000


def test_what_a_file_and_its_name_hold_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a\x1b[2Jb\udcff.log").write_bytes(b"\x1b[31mred\n<13>1 2026-01-05T10:00:00Z h p - - - \xc2\x9b2J\n")
    for arguments in (["syslog", str(folder)], ["transactions", str(folder), "--delimiter", "!"]):
        result = run(*arguments, "--dry-run")
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output and "\x9b" not in result.output


def test_options_that_exclude_each_other_or_are_missing_are_usage_errors(sales: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("NO_SUCH_BASE", raising=False)
    for arguments, said in (
        (["transactions"], "name a FILE"),
        (["mail"], "name a FILE"),
        (["transactions", str(sales), "--sql", "SELECT 1"], "not both"),
        (["transactions", "--sql", "SELECT 1"], "--url-env NAME"),
        (["transactions", "--sql", "SELECT 1", "--url-env", "NO_SUCH_BASE"], "NO_SUCH_BASE is not set"),
        (["transactions", "--sql", "@/no/such.sql", "--url", "sqlite://"], "the query can't be read"),
        (["transactions", "-", "--check"], "--check reads twice"),
        (["transactions", str(sales), "--delimiter", "::"], "one character"),
        (["transactions", str(sales), "--max-bad-share", "7"], "no share"),
        (["mapping", "slak"], "there is no mapping slak"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert said in result.output, (arguments, result.output)


def test_every_command_explains_itself() -> None:
    for name in (*FIELDS, "mapping"):
        result = CliRunner().invoke(orgpulse, ["import", name, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage: orgpulse import" in result.output
        assert name == "mapping" or f"  orgpulse import {name} " in result.output, "with an example"
