"""Recounts chat activity: windows of ten minutes, who is online, who wrote.

Owns the recount's own idea of what a chat document should say at any moment. Invariant: shares no line with what it
checks, but for the spline of `reports.rate`, which the system evaluates by other means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from reports.rate import CumulativeCurve
from reports.recount_fields import Options
from reports.recount_people import People

_WINDOW_MS, _HOUR_MS = 600_000, 3_600_000
_SAMPLES = ["org", "server", "time_ms", "online"]


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ChatCount:
    """All chat messages (org, user, time_ms) and presence samples (org, server, time_ms, online) that count."""

    messages: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["org", "user", "time_ms"]))
    samples: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_SAMPLES))
    people: People = field(default_factory=People)
    options: Options = field(default_factory=Options)

    @classmethod
    def of(cls, events: pd.DataFrame, people: People, options: Options) -> ChatCount:
        """Return what of *events* (no duplicates among them) is chat."""
        messages = events.loc[events["measure"] == "message", ["org", "user", "time_ms"]]
        samples = events.loc[events["measure"] == "presence"].rename(columns={"ref": "server", "amount": "online"})
        return cls(messages, samples[_SAMPLES], people, options)

    def since_ms(self, as_of_ms: int) -> int:
        """Return the start of the oldest hour that counts at *as_of_ms*."""
        return (as_of_ms // _HOUR_MS - 24 * self.options.chat_days) * _HOUR_MS

    def orgs(self, as_of_ms: int) -> list[str]:
        """Return the orgs that have a document at *as_of_ms*."""
        since = self.since_ms(as_of_ms)
        parts = [part.loc[part["time_ms"] >= since, "org"] for part in (self.messages, self.samples)]
        return sorted(set(pd.concat(parts)))

    def document(self, org: str, as_of_ms: int) -> dict[str, Any]:
        """Return the fields of an org's document as of *as_of_ms*; empty = there is none."""
        since = self.since_ms(as_of_ms)
        messages, samples = (
            part[(part["org"] == org) & (part["time_ms"] >= since)].assign(window=lambda p: p["time_ms"] // _WINDOW_MS)
            for part in (self.messages, self.samples)
        )
        windows = self._windows(messages, samples)
        if not windows:
            return {}
        whole = as_of_ms // _WINDOW_MS - 1
        per_window = {start // 600: n for start, n, _, _ in windows}
        found: dict[str, Any] = {
            "timezone": self._zone(org),
            "since": _iso(since),
            "updated": _iso(as_of_ms),
            "messages_10m": str(per_window.get(whole, 0)),
            "rate_per_minute": _rate(per_window, since // _WINDOW_MS, whole),
            "messages_total": str(len(messages)),
            "windows": windows,
            **self._people_of(org, messages),
        }
        if len(messages):
            found["last_message_at"] = _iso(int(messages["time_ms"].max()))
        if len(samples):
            newest = int(samples["time_ms"].max())
            found["online_at"] = _iso(newest)
            if newest > as_of_ms - 3 * _WINDOW_MS:
                lately = samples[samples["time_ms"] > newest - 2 * _WINDOW_MS]
                found["online"] = str(int(_newest(lately, ["server"])["online"].sum()))
        return found

    def _windows(self, messages: pd.DataFrame, samples: pd.DataFrame) -> list[list[Any]]:
        """Return start (s), messages, online and cumulative messages of each window in which something was."""
        written = messages.groupby("window").size()
        online = _newest(samples, ["server", "window"]).groupby("window")["online"].sum()
        places = sorted({*written.index, *online.index})
        counts, shown = written.reindex(places, fill_value=0).astype("int64"), online.to_dict()
        rows = zip(places, counts.tolist(), counts.cumsum().tolist(), strict=True)
        return [[int(p) * 600, n, int(shown[p]) if p in shown else None, total] for p, n, total in rows]

    def _people_of(self, org: str, messages: pd.DataFrame) -> dict[str, Any]:
        numbers = messages[~messages["user"].isin(self.options.forgotten)].groupby("user").size()
        ranked = sorted(((int(n), str(user)) for user, n in numbers.items()), key=lambda each: (-each[0], each[1]))
        shown, most = [], self.options.chat_people
        for n, user in ranked[:most]:
            shown.append({"user": user, "name": self.people.display_name(org, user) or user, "messages": n})
        return {"people": shown, "people_left_out": str(max(0, len(ranked) - most))}

    def _zone(self, org: str) -> str:
        entry = self.people.orgs.get(org)
        return self.options.chat_zones.get(org) or (entry.zone if entry else "UTC")


def _newest(samples: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the newest sample of each group; of equally new ones the largest."""
    return samples.sort_values(["time_ms", "online"], kind="stable").drop_duplicates(by, keep="last")


def _rate(per_window: dict[Any, Any], first: int, whole: int) -> float:
    """Return messages per minute at the end of the last whole window."""
    counts = {window: n for window, n in per_window.items() if window <= whole}
    curve = CumulativeCurve(list(({first: 0, whole: 0} | counts).items()))
    return float(curve.per_minute(np.array([(whole + 1) * 600.0]))[0])
