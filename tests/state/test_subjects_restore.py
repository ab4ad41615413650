"""Names that are taken over at once stand where they stood, as if they had come one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from state.activity import SEPARATOR, Member, Org
from state.arrays import decode, encode
from state.subjects import Subjects

_NAMES = st.text(st.characters(exclude_characters=SEPARATOR, exclude_categories=("Cs", "Cc")), min_size=1, max_size=4)


def everything(subjects: Subjects) -> dict[str, Any]:
    """Return all that can be asked of *subjects*."""
    n, orgs = len(subjects), len(subjects.orgs)
    return {
        "segments": subjects.segments(),
        "slots": [subjects.find(*name.split(SEPARATOR, 1)) for name in subjects.names],
        "org_of": subjects.org_of[:n].tolist(),
        "is_user": subjects.is_user[:n].tolist(),
        "orgs": subjects.orgs,
        "numbers": [subjects.org_number(entry.name) for entry in subjects.orgs],
        "zones": [subjects.zone_names[zone] for zone in subjects.zone_of[:orgs].tolist()],
        "groups": subjects.group_of[:orgs].tolist(),
        "jobs": subjects.job_of[:n].tolist(),
    }


@given(st.lists(st.tuples(_NAMES, st.one_of(st.just(""), _NAMES))), st.lists(st.tuples(_NAMES, _NAMES)))
def test_taken_over_at_once_is_as_one_after_the_other(
    first: list[tuple[str, str]], later: list[tuple[str, str]]
) -> None:
    grown = Subjects()
    for org, user in first:
        grown.slots([org + SEPARATOR + user])
    for number, (org, user) in enumerate(later):
        grown.learn_member(Member(org, user, number % 2 == 0, f"job {number % 3}"))
        grown.learn_org(Org(org, org.upper(), "Europe/Vienna" if number % 2 else "UTC", "SMB"))
    restored = Subjects()
    restored.restore({name: decode(encode(value)) for name, value in grown.segments().items()})
    assert everything(restored) == everything(grown)
    names = ["new" + SEPARATOR + "one", *(org + SEPARATOR + "two" for org, _ in first)]
    assert np.array_equal(restored.slots(names), grown.slots(names))
    assert everything(restored) == everything(grown)
