"""Owns which input partitions share one transactional producer: a lane.

A transaction costs the broker some milliseconds of processor time however little is in it, so what one worker always
owns together is committed together. Faust assigns all topics of the same number of partitions by partition number;
topics of another number are assigned apart. Invariant: the lane is part of the `transactional.id`, so every process
that may own a partition, or has to fence those that did, must name its lane alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from faust.types import TP

LaneOf = Callable[[TP], str]


def own_lane(tp: TP) -> str:
    """Return the lane of a partition that shares it with no other.

    >>> own_lane(TP("summaries", 0))
    'summaries-0'
    """
    return f"{tp.topic}-{tp.partition}"


def lanes_by_number(apart: Iterable[str]) -> LaneOf:
    """Return the rule by which all topics but those *apart* share a lane for each partition number.

    >>> lane_of = lanes_by_number(["summaries"])
    >>> lane_of(TP("activities", 3)), lane_of(TP("chat-messages", 3)), lane_of(TP("summaries", 0))
    ('lane-3', 'lane-3', 'summaries-0')
    """
    narrow = frozenset(apart)
    return lambda tp: own_lane(tp) if tp.topic in narrow else f"lane-{tp.partition}"


def torn_lanes(lane_of: LaneOf, owned: Iterable[TP], widths: Mapping[str, int]) -> list[str]:
    """Return the lanes of which *owned* has a part only, of topics with *widths* partitions.

    >>> torn_lanes(lanes_by_number([]), [TP("a", 0), TP("a", 1), TP("b", 1)], {"a": 2, "b": 2})
    ['lane-0']
    """
    mine = set(owned)
    touched = {lane_of(tp) for tp in mine}
    everything = {TP(topic, number) for topic, width in widths.items() for number in range(width)}
    return sorted({lane_of(tp) for tp in everything - mine} & touched)
