"""Exports of chats and mail: what becomes of each message, and that the workers' readers take it."""

from __future__ import annotations

import gzip
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import bson
import pytest

from agents.importers.expand import over_files
from agents.importers.mail import read_mail
from agents.importers.maildir import over_maildirs
from agents.importers.mapping import parse_rules
from agents.importers.source import InputError
from tests.agents.import_rows import FORMS, chat, messages, problems, readings, rows_in, rows_of_text


def zipped(folder: Path, target: Path, inside: str = "") -> Path:
    """Pack a folder as exports are packed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, inside + file.relative_to(folder).as_posix())
    return target


SLACK = [
    {"message_id": "C0GENERAL/1767603661.041900", "time": "2026-01-05T09:01:01.041Z", "channel": "general",
     "author": "ann.lee@example.org", "server": "T0ACME"},
    {"message_id": "C0GENERAL/1767603800.000200", "time": "2026-01-05T09:03:20.000Z", "channel": "general",
     "author": "U0BOB", "in_reply_to": "C0GENERAL/1767603661.041900", "server": "T0ACME"},
    {"message_id": "C0GENERAL/1767604000.000300", "time": "2026-01-05T09:06:40.000Z", "channel": "general",
     "author": "cat@example.org", "in_reply_to": "C0GENERAL/1767603661.041900", "server": "T0ACME"},
    {"message_id": "C0HELP/1767610000.000000", "time": "2026-01-05T10:46:40.000Z", "channel": "help",
     "author": "U0BOB", "server": "T0ACME"},
    {"type": "edit", "message_id": "C0HELP/1767610000.000000", "time": "2026-01-05T10:47:40.000Z", "channel": "help",
     "author": "U0BOB", "server": "T0ACME"},
    {"type": "delete", "message_id": "C0GENERAL/1767603800.000200", "time": "2026-01-06T09:00:00.000Z",
     "channel": "general", "server": "T0ACME"},
    {"type": "edit", "message_id": "C0GENERAL/1767603661.041900", "time": "2026-01-06T09:01:39.000Z",
     "channel": "general", "author": "ann.lee@example.org", "server": "T0ACME"},
    {"message_id": "C0GENERAL/1767690200.500000", "time": "2026-01-06T09:03:20.500Z", "channel": "general",
     "author": "ann.lee@example.org", "server": "T0ACME"},
]  # fmt: skip


@pytest.mark.parametrize("packed", ["folder", "zip", "zip with a folder in it"])
def test_a_slack_export_gives_messages_threads_edits_and_deletions_by_day(packed: str, tmp_path: Path) -> None:
    path = FORMS / "slack"
    if packed != "folder":
        path = zipped(path, tmp_path / "export.zip", "Acme Slack export/" if "folder" in packed else "")
    rows = rows_in(path, chat())
    bad = {"message_id": "C0GENERAL/soon", "time": "soon", "channel": "general", "author": "ann.lee@example.org"}
    assert messages(rows) == [*SLACK, bad]
    assert Counter(problems(rows)) == {
        None: 8, "system_message": 1, "bot_message": 2, "direct_message": 1, "deleted_message": 1, "bad_time": 1,
    }  # fmt: skip
    assert [reading.measure for reading in readings("chat", rows[:-1])] == ["message"] * 5 + [
        "message_deleted", "message", "message",
    ]  # fmt: skip


def test_a_slack_exports_options_choose_names_bots_and_direct_messages() -> None:
    rows = rows_in(FORMS / "slack", chat(author="name", bots=True, direct=True, org="acme"))
    assert Counter(message["author"] for message in messages(rows) if "author" in message) == {
        "ann": 5, "bob": 3, "cat": 1, "B0BUILD": 1, "buildbot": 1,
    }  # fmt: skip
    assert {message["org_id"] for message in messages(rows)} == {"acme"}
    assert "direct_message" not in problems(rows)


DISCORD = [
    {"message_id": "910000000000000002", "time": "2026-01-05T09:01:01.041Z", "channel": "general",
     "author": "920000000000000001", "server": "900000000000000001"},
    {"type": "edit", "message_id": "910000000000000002", "time": "2026-01-05T09:02:00.000Z", "channel": "general",
     "author": "920000000000000001", "server": "900000000000000001"},
    {"message_id": "910000000000000003", "time": "2026-01-05T09:03:00.000Z", "channel": "general",
     "author": "920000000000000002", "in_reply_to": "910000000000000002", "server": "900000000000000001"},
    {"message_id": "910000000000000004", "time": "2026-01-05T09:04:00.000Z", "channel": "general",
     "author": "920000000000000001", "server": "900000000000000001"},
]  # fmt: skip


def test_a_discord_export_gives_replies_but_takes_no_crosspost_for_one() -> None:
    rows = rows_in(FORMS / "discord" / "general.json", chat())
    assert messages(rows) == DISCORD
    assert problems(rows) == ["system_message", None, None, None, None, "bot_message"]
    found = readings("chat", rows)
    assert [reading.ref for reading in found] == ["", "", "c910000000000000002", ""]
    assert [reading.apart for reading in found] == ["", "edit", "", ""]


def test_discord_channels_of_a_folder_come_in_order_of_time(tmp_path: Path) -> None:
    export = json.loads((FORMS / "discord" / "general.json").read_text())
    for channel in range(3):
        export["channel"]["name"] = f"c{channel}"
        export["messages"] = [
            {"id": f"{channel}-{day}", "type": "Default", "timestamp": f"2026-0{month}-01T{channel:02}:00:00+00:00",
             "timestampEdited": None, "author": {"id": "1", "name": "ann", "isBot": False}}
            for day, month in enumerate(range(1, 10))
        ]  # fmt: skip
        (tmp_path / f"Acme - c{channel}.json").write_text(json.dumps(export))
    (tmp_path / ".DS_Store").write_bytes(b"\0\1")
    found = messages(rows_in(tmp_path, chat()))
    assert len(found) == 27
    assert [message["time"] for message in found] == sorted(message["time"] for message in found)
    assert messages(rows_in(zipped(tmp_path, tmp_path.parent / "all.zip"), chat())) == found


ACTIVITY = [
    {"type": "presence", "time": "2026-01-05T09:30:00.000Z", "server": "guild", "online": 412},
    *({"author": f"92000000000000000{who}", "channel": "guild", "time": "2026-01-05T09:30:00.000Z", "server": "guild",
       "message_id": f"guild/2026-01-05T09:30:00.000Z/92000000000000000{who}/{n}"}
      for who, n in ((1, 1), (1, 2), (1, 3), (2, 1), (2, 2))),
    {"type": "presence", "time": "2026-01-05T09:40:00.000Z", "server": "guild", "online": 405},
]  # fmt: skip


@pytest.mark.parametrize("name", ["activity-canonical.json", "activity-relaxed.json", "activity-first-form.json"])
def test_what_a_counting_bot_stored_is_counted_exactly_in_every_form_of_extended_json(name: str) -> None:
    rows = rows_in(FORMS / "discord" / name, chat(server="guild"))
    assert messages(rows) == ACTIVITY
    assert set(problems(rows)) == {None}
    found = readings("chat", rows)
    assert Counter(reading.who for reading in found if reading.measure == "message") == {
        "920000000000000001": 3, "920000000000000002": 2,
    }  # fmt: skip
    assert len({reading.id for reading in found}) == len(found), "no two of them are taken for one"
    assert [reading.amount for reading in found if reading.measure == "presence"] == [412, 405]


def test_a_binary_dump_gives_the_same_and_one_cut_off_says_so(tmp_path: Path) -> None:
    text = (FORMS / "discord" / "activity-canonical.json").read_text()
    dump = b"".join(bson.encode(bson.json_util.loads(line)) for line in text.splitlines())
    file = tmp_path / "activity.bson"
    file.write_bytes(dump)
    assert messages(rows_in(file, chat(server="guild"))) == ACTIVITY
    file.write_bytes(dump[:-3])
    with pytest.raises(InputError, match="cut off"):
        rows_in(file, chat(server="guild"))


@pytest.mark.parametrize(
    ("document", "problem", "sent"),
    [
        ({"messages-sent": 9, "quantities": {"1": 3}}, "quantities_differ_from_messages_sent", 4),
        ({"messages-sent": 3, "quantities": {"1": -3}}, "bad_quantity", 1),
        ({"messages-sent": 3, "quantities": {"1": 2.5}}, "bad_quantity", 1),
        ({"messages-sent": 3, "quantities": {"1": 10**9}}, "too_many_messages", 1),
        ({"messages-sent": 0, "quantities": "none"}, None, 1),
    ],
)
def test_numbers_that_cannot_be_are_said_and_never_expanded(document: Any, problem: str | None, sent: int) -> None:
    line = json.dumps({"time": "2026-01-05T09:30:00Z", "online-members": 7, **document})
    rows = rows_of_text(line, chat("discord-activity", server="guild"))
    assert (rows[0].problem, len(messages(rows))) == (problem, sent)


def test_a_zulip_export_names_people_and_channels_and_leaves_bots_and_private_talk_out(tmp_path: Path) -> None:
    expected = [
        {"message_id": "101", "time": "2026-01-05T09:01:01.041Z", "channel": "general", "server": "acme",
         "author": "ann.lee@example.org"},
        {"type": "edit", "message_id": "101", "time": "2026-01-05T09:01:40.500Z", "channel": "general",
         "server": "acme", "author": "ann.lee@example.org"},
        {"message_id": "104", "time": "2026-01-05T09:06:40.000Z", "channel": "general", "server": "acme",
         "author": "bob@example.org"},
    ]  # fmt: skip
    for path in (FORMS / "zulip", zipped(FORMS / "zulip", tmp_path / "z.zip", "zulip-export-x/")):
        rows = rows_in(path, chat())
        assert messages(rows) == expected
        assert Counter(problems(rows)) == {None: 3, "bot_message": 1, "direct_message": 1}
    assert len(readings("chat", rows)) == 3


def test_zulips_api_gives_the_same_as_an_answer_and_as_lines() -> None:
    answer = json.loads((FORMS / "zulip-api.json").read_text())
    whole = messages(rows_in(FORMS / "zulip-api.json", chat()))
    lines = "\n".join(json.dumps(message) for message in answer["messages"])
    assert messages(rows_of_text(lines, chat())) == whole
    assert messages(rows_of_text(json.dumps(answer["messages"]), chat())) == whole
    assert [message.get("type", "message") for message in whole] == ["message", "edit"]
    assert whole[0] | {"server": "acme", "author": "ann.lee@example.org"} == whole[0]


def test_a_pipermail_folder_is_one_list_by_months_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "r-help"
    folder.mkdir()
    for month in ("January", "February"):
        text = (FORMS / "pipermail" / "r-help" / f"2026-{month}.txt").read_bytes()
        (folder / f"2026-{month}.txt.gz").write_bytes(gzip.compress(text))
    reader = over_files(lambda s: read_mail(s, channel=None, org=None))
    rows = rows_in(folder, reader)
    assert [(m["message_id"], m["author"], m["channel"], m.get("in_reply_to")) for m in messages(rows)] == [
        ("j1@mail.example.org", "ann.lee@example.org", "r-help", None),
        ("j2@mail.example.org", "bob@example.org", "r-help", "j1@mail.example.org"),
        ("f1@mail.example.org", "cat@example.org", "r-help", "j2@mail.example.org"),
    ]
    assert problems(rows) == [None, None, "no_zone_read_as_utc"]
    assert rows[2].place == "2026-February.txt, row 1"
    alone = rows_in(folder / "2026-January.txt.gz", reader)
    assert [row.key for row in alone] == [b"r-help", b"r-help"]
    assert len(readings("chat", rows)) == 3


def test_a_maildir_is_read_by_delivery_with_its_subfolders_and_a_mapped_org(tmp_path: Path) -> None:
    mails = {
        "cur/1767603661.M1P2.host:2,S": "From: Ann <ann@acme.example>\nMessage-ID: <1@x>\n"
        "Date: Mon, 5 Jan 2026 10:01:01 +0100\n\nFrom: no header\n",
        "new/1767603800.M1P2.host": "From: bob@other.example\nMessage-ID: <2@x>\nIn-Reply-To: <1@x>\n"
        "List-Id: Dev <dev.acme.example>\nDate: Mon, 5 Jan 2026 09:03:20 GMT\n\n",
        ".Lists.dev/cur/1767603700.M9P2.host:2,": "From: cat@acme.example\nMessage-ID: <3@x>\n"
        "Date: Mon, 5 Jan 2026 09:01:40 GMT\n",
        "cur/.hidden": "x",
        "tmp/1767603900.M1": "From: nobody@example.org\n\n",
        "subscriptions": "V 2\n",
    }
    for name, text in mails.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    rules = parse_rules(["org_id=domain"], ("org_id",))
    reader = over_maildirs(
        over_files(lambda s: read_mail(s, channel=None, org=None)), channel=None, org=None, rules=rules
    )
    rows = rows_in(tmp_path, reader)
    assert [(m["message_id"], m["channel"], m["org_id"]) for m in messages(rows)] == [
        ("1@x", tmp_path.name, "acme.example"),
        ("3@x", "Lists.dev", "acme.example"),
        ("2@x", tmp_path.name, "other.example"),
    ]
    (tmp_path / "new/1767603800.M1P2.host").rename(tmp_path / "cur/1767603800.M1P2.host:2,RS")
    again = rows_in(tmp_path, reader)
    assert [row[:3] for row in again] == [row[:3] for row in rows], "reading a mail changes nothing"


def test_a_message_table_needs_no_json() -> None:
    text = "id;author;sent;channel;reply\n1;ann;2026-01-05 10:00:00;help;\n2;bob;2026-01-05 10:05:00;help;1\n"
    rules = parse_rules(["message_id=id", "time=sent", "in_reply_to=reply"], ("message_id", "time", "in_reply_to"))
    rows = rows_of_text(text, chat(rules=rules))
    assert [(reading.who, reading.ref) for reading in readings("chat", rows)] == [("ann", ""), ("bob", "c1")]


def test_members_of_an_archive_lead_nowhere_and_bombs_are_not_opened(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    sneaky = inside / "sneaky.zip"
    line = '{"message_id": 1, "author": "ann", "time": 1767603661, "channel": "c"}\n'
    with zipfile.ZipFile(sneaky, "w") as archive:
        archive.writestr("../../escaped.jsonl", line)
        archive.writestr("/absolute.jsonl", line)
        archive.writestr("__MACOSX/._a.jsonl", b"\0\0")
    assert len(messages(rows_in(sneaky, chat()))) == 1, "what climbs out of the archive counts as hidden"
    assert [file.name for file in tmp_path.rglob("*")] == ["inside", "sneaky.zip"]
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.jsonl", "w") as member:
        for _ in range(80):
            member.write(b"0" * (1 << 20))
    with pytest.raises(InputError, match="no honest export"):
        rows_in(bomb, chat())


def test_a_damaged_or_encrypted_archive_says_so(tmp_path: Path) -> None:
    file = zipped(FORMS / "slack", tmp_path / "a.zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        rows_in(file, chat())
    # The flag "encrypted" in the local header and the directory of the only member.
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jsonl", "{}")
    locked = bytearray(file.read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(bytes(locked))
    with pytest.raises(InputError, match="can't be unpacked"):
        rows_in(file, chat())


def test_an_empty_folder_and_one_that_is_no_export_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to read"):
        rows_in(tmp_path, chat())
    with pytest.raises(InputError, match=r"users\.json"):
        rows_in(tmp_path, chat("slack"))
    shutil.copy(FORMS / "zulip" / "realm.json", tmp_path)
    with pytest.raises(InputError, match="messages-000001"):
        rows_in(tmp_path, chat())
