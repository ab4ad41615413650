"""What an attribute without data was last, for the recount.

Owns the recount's own reading of `missing = "carry"`: the value of the newest of the four calendar weeks before the
running one (in the org's zone) that had data. Invariant: a value that is known is never replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from reports.recount_score import HOURS, Rules, attribute_table

WEEKS_BACK = 4


def with_carried(
    rules: Rules,
    placed: pd.DataFrame,
    values: pd.DataFrame,
    known: pd.DataFrame,
    running: Callable[[str], Any],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return *values* with the last known ones where there is no data, and where something stands now.

    Args:
        rules: The model.
        placed: All that happened, with its Monday and its hour in its week.
        values: By (org, user) and attribute.
        known: Where there is data.
        running: Org → the Monday of the week before which to look.
    """
    if not rules.carrying or not len(values):
        return values, known
    only, values, stands = replace(rules, attributes=rules.carrying), values.copy(), known.copy()
    back = (placed["org"].map(running) - placed["monday"]).dt.days // 7
    for week in range(1, WEEKS_BACK + 1):
        then, had = attribute_table(only, placed[back == week], HOURS, values.index)
        for name in (entry["name"] for entry in rules.carrying):
            takes = ~stands[name] & had[name]
            values.loc[takes, name] = then.loc[takes, name]
            stands[name] |= takes
    return values, stands
