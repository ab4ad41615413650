"""Reads the real archives by other means than the system does, and says what their replies come to.

Invariant: shares no code with orgpulse but the shape of a message on its way to Kafka.
"""

from __future__ import annotations

import gzip
import json
import mailbox
import random
import re
import shutil
from email.utils import parsedate_to_datetime
from pathlib import Path

import pandas as pd

from agents.simulate import Message

DAY_SECONDS = 86_400


def read_irc(data: Path) -> pd.DataFrame:
    """Return the IRC logs: id, author, time, parent ("" = none), in the file's order."""
    with gzip.open(data / "chat" / "ubuntu-irc.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return _frame([(r["message_id"], r["author"], r["time"], r["in_reply_to"] or "") for r in rows])


def read_mails(data: Path, folder: Path) -> pd.DataFrame:
    """Return the mail archive likewise, unpacked in *folder*."""
    plain = folder / "archive.mbox"
    with gzip.open(data / "mail" / "r-package-devel.mbox.gz") as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    rows = []
    for mail in mailbox.mbox(plain):
        time = parsedate_to_datetime(mail["Date"])
        parents = re.findall(r"<(.+?)>", mail["In-Reply-To"] or "")
        at = f"{time:%Y-%m-%dT%H:%M:%S}{time:%z}" if time.tzinfo else f"{time:%Y-%m-%dT%H:%M:%S}+0000"
        rows.append((mail["Message-ID"].strip("<> "), mail["From"], at, (parents or [""])[0]))
    return _frame(rows)


def _frame(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["id", "author", "said", "parent"])
    found["time"] = pd.to_datetime(found["said"], utc=True, format="ISO8601")
    return found


def replies_of(messages: pd.DataFrame) -> pd.DataFrame:
    """Return the replies whose parent is there: `asked` (the parent's time), `seconds`, `alone` (to oneself)."""
    once = messages.drop_duplicates("id")
    pairs = once.merge(once, left_on="parent", right_on="id", suffixes=("", "_asked"))
    pairs["seconds"] = (pairs["time"] - pairs["time_asked"]).dt.total_seconds()
    return pd.DataFrame(
        {"asked": pairs["time_asked"], "seconds": pairs["seconds"], "alone": pairs["author"] == pairs["author_asked"]}
    )


def by_hour(replies: pd.DataFrame, quantile: float, zone: str = "UTC") -> dict[int, tuple[int, float]]:
    """Return of each hour of the week in *zone* that has replies how many, and the quantile of their seconds."""
    local = replies["asked"].dt.tz_convert(zone)
    cells = replies["seconds"].groupby(local.dt.day_of_week * 24 + local.dt.hour)
    return {int(hour): (len(waits), float(waits.quantile(quantile))) for hour, waits in cells}


def on_their_way(messages: pd.DataFrame, org: str, channel: str, days: float, chance: random.Random) -> list[Message]:
    """Return *messages* for Kafka, each held up by up to *days*: so far from their order."""
    held = [at.timestamp() + chance.random() * days * DAY_SECONDS for at in messages["time"]]
    order = sorted(range(len(held)), key=held.__getitem__)
    rows = messages[["id", "author", "said", "parent"]].values.tolist()
    found = []
    for place in order:
        id_, author, said, parent = rows[place]
        message = {"message_id": id_, "author": author, "time": said, "channel": channel, "org_id": org}
        message |= {"in_reply_to": parent} if parent else {}
        found.append(Message("chat-messages", channel.encode(), json.dumps(message).encode()))
    return found
