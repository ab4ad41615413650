"""What an attribute without data was last, for the recount.

Owns the recount's own reading of `missing = "carry"`: the value of the newest of the last four closed calendar weeks
(in the org's zone) that had data. Invariant: a value of the rolling week itself is never replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from reports.recount_score import Rules, attribute_table

WEEKS_BACK = 4


def with_carried(
    rules: Rules,
    happened: pd.DataFrame,
    values: pd.DataFrame,
    known: pd.DataFrame,
    zones: Mapping[str, str],
    as_of_ms: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return *values* with the last known ones where there is no data, and where something stands now."""
    carrying = [entry for entry in rules.attributes if entry.get("missing") == "carry"]
    if not carrying or not len(values):
        return values, known
    names = [entry["name"] for entry in carrying]
    values, stands = values.copy(), known.copy()
    back = _weeks_back(happened, zones, as_of_ms)
    for week in range(1, WEEKS_BACK + 1):
        then, had = attribute_table(replace(rules, attributes=carrying), happened[back == week], 0, values.index)
        for name in names:
            takes = ~stands[name] & had[name]
            values.loc[takes, name] = then.loc[takes, name]
            stands[name] |= takes
    return values, stands


def _weeks_back(happened: pd.DataFrame, zones: Mapping[str, str], as_of_ms: int) -> pd.Series:
    """Return how many calendar weeks ago, by the wall clock of its org, each row happened; 0 = in the running one."""
    found = []
    for org, own in happened.groupby("org"):
        zone = zones.get(str(org), "UTC")
        mondays = _monday(pd.to_datetime(own["time_ms"], unit="ms", utc=True).dt.tz_convert(zone))
        now = _monday(pd.Series([pd.Timestamp(as_of_ms, unit="ms", tz="UTC").tz_convert(zone)])).iloc[0]
        found.append((now - mondays).dt.days // 7)
    ago: pd.Series = pd.concat(found).reindex(happened.index)
    return ago


def _monday(moments: pd.Series) -> pd.Series:
    days = moments.dt.tz_localize(None).dt.normalize()
    mondays: pd.Series = days - pd.to_timedelta(days.dt.dayofweek, unit="D")
    return mondays
