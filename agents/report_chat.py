"""Chat activity as a section of a report.

Invariant: a window without a sample is "not known", never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from agents.render_chat import moment
from reports.rate import WINDOW_SECONDS, CumulativeCurve
from reports.report_table import NUMBER, WHOLE, Column, Section, Table, empty
from state.week import week_of
from streams.published_chat import ChatActivity, ChatWindow


def chat_section(chats: Sequence[ChatActivity], first: int | None, last: int | None) -> Section:
    """Return the section; windows of weeks before *first* or after *last* (numbers, in the server's zone) are left
    out."""
    kept = [(chat, _within(chat, first, last)) for chat in chats]
    return Section(
        "chat", "Chat", "Who is there, how much is written, how fast, and by whom; in the time zone of each server.",
        (_figures(chats), _windows(kept), _people(chats)),
    )  # fmt: skip


def _within(chat: ChatActivity, first: int | None, last: int | None) -> list[ChatWindow]:
    found = []
    for window in chat.windows:
        week = week_of(int(window.start.timestamp() * 1000), chat.timezone)
        if (first is None or week >= first) and (last is None or week <= last):
            found.append(window)
    return found


def _figures(chats: Sequence[ChatActivity]) -> Table:
    rows = [
        (
            chat.org, _float(chat.online), _float(chat.messages_total), _float(chat.rate_per_minute),
            moment(chat.since),
            moment(chat.last_message_at), moment(chat.updated) + (" (stale)" if chat.stale else ""),
        )
        for chat in chats
    ]  # fmt: skip
    names = ["org", "online", "messages", "messages_per_minute", "since", "last_message", "updated"]
    frame = pd.DataFrame(rows, columns=names)
    columns = (
        Column("org", "org"), Column("online", "online", WHOLE), Column("messages", "messages", WHOLE),
        Column("messages_per_minute", "a minute", NUMBER), Column("since", "since"),
        Column("last_message", "last message"), Column("updated", "last updated"),
    )  # fmt: skip
    return Table(
        "chat", "Chat activity",
        "Members online by the newest sample, messages since the horizon, and how fast they come at the moment: the "
        "slope of a smoothing spline through their cumulative curve.",
        frame, columns, pictures=tuple(partial(_draw, chat) for chat in chats),
    )  # fmt: skip


def _windows(chats: Sequence[tuple[ChatActivity, list[ChatWindow]]]) -> Table:
    parts = []
    for chat, windows in chats:
        if not windows:
            continue
        numbers = [int(window.start.timestamp()) // WINDOW_SECONDS for window in windows]
        curve = CumulativeCurve([(n, w.messages) for n, w in zip(numbers, windows, strict=True)])
        middles = (np.array(numbers, np.float64) + 0.5) * WINDOW_SECONDS
        parts.append(
            pd.DataFrame(
                {
                    "org": pd.Series([chat.org] * len(windows), dtype="str"),
                    "start": pd.Series([window.start.isoformat(timespec="minutes") for window in windows], dtype="str"),
                    "messages": np.array([window.messages for window in windows], np.int64),
                    "messages_so_far": np.array([window.cumulative for window in windows], np.int64),
                    "messages_per_minute": curve.per_minute(middles),
                    "online": np.array([_float(window.online) for window in windows], np.float64),
                }
            ).iloc[::-1]
        )
    kinds = (
        ("org", "str"), ("start", "str"), ("messages", "int64"), ("messages_so_far", "int64"),
        ("messages_per_minute", "float64"), ("online", "float64"),
    )  # fmt: skip
    frame = pd.concat(parts, ignore_index=True) if parts else empty(kinds)
    columns = (
        Column("org", "org"), Column("start", "from"), Column("messages", "messages", WHOLE),
        Column("messages_so_far", "so far", WHOLE), Column("messages_per_minute", "a minute", NUMBER),
        Column("online", "online", WHOLE),
    )  # fmt: skip
    return Table(
        "chat-windows", "Chat by ten minutes",
        "Windows of ten minutes in which something was, the newest first; the rate is that at their middle.",
        frame, columns, shown=24,
    )  # fmt: skip


def _people(chats: Sequence[ChatActivity]) -> Table:
    rows = [(chat.org, each.user, each.name, each.messages) for chat in chats for each in chat.people]
    frame = pd.DataFrame(rows, columns=["org", "user", "name", "messages"]).astype(
        {"org": "str", "user": "str", "name": "str", "messages": "int64"}
    )
    left_out = sum(chat.people_left_out or 0 for chat in chats)
    notes = (f"{left_out:,} others wrote less and are not kept one by one.",) if left_out else ()
    columns = (Column("org", "org"), Column("name", "who"), Column("messages", "messages", WHOLE))
    return Table(
        "chat-people", "Messages per person", "Who wrote most, by the name that people call them.",
        frame, columns, notes, shown=30,
    )  # fmt: skip


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _draw(chat: ChatActivity) -> str:
    from agents.cli_chat import report_of
    from reports.chat_picture import drawn
    from reports.picture_inline import named

    return named(drawn(report_of(chat), "svg").decode(), f"Chat of {chat.org}: all windows that are kept")
