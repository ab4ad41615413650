"""Activities of orgs, kept up to date by differences."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.activity import SEPARATOR
from state.org_activity import OrgActivity
from state.ring import RollingWeek
from state.subjects import Subjects
from tests.state.worlds import HOUR, examples, model_of

NOW = 480_000  # an hour
step = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 168)), min_size=1, max_size=10)),
    st.tuples(st.just("advance"), st.integers(1, 100)),
    st.tuples(st.just("count"), st.sets(st.integers(0, 8))),
    st.tuples(st.just("forget"), st.integers(0, 8)),
)


@examples(150)
@given(st.lists(step, max_size=12))
def test_an_org_has_what_its_users_were_last_seen_with(steps: list[tuple[str, object]]) -> None:
    model, subjects = model_of(), Subjects()
    week = RollingWeek(model.catalogue.measures)
    users = subjects.slots([f"o{n % 3}{SEPARATOR}u{n}" for n in range(9)])
    week.grow(len(subjects))
    week.advance(NOW)
    activity = OrgActivity(week, subjects)
    activity.grow()
    seen = dict.fromkeys(range(9), 0)
    search = model.catalogue.index("search")
    for kind, value in steps:
        if kind == "add":
            who, ago = np.array(value, np.int64).T
            ones = np.ones(len(who), np.int64)
            week.add(users[who], search * ones, (week.hour - ago) * HOUR, ones, 0 * ones)
        elif kind == "advance":
            week.advance(week.hour + value)
        elif kind == "count":
            activity.count(users[sorted(value)])
            seen |= {n: int(week.count_of(search)[users[n]]) for n in value}
        else:
            activity.forget(int(users[value]))
            seen[value] = 0
        expected = [sum(seen[m] for m in range(9) if m % 3 == n % 3) for n in range(9)]
        assert activity.of_org_of(users).tolist() == expected
        assert activity.of_user[users].tolist() == list(seen.values())
