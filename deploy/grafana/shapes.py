"""Transformations between what Prometheus answers and what a table shows.

Invariant: every table starts from frames with the columns Time, one per label, and Value (or ``Value #A`` … if there
are several queries), as Grafana's data source makes them of answers in the format `table`.
"""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.models.dashboard import DataTransformerConfig

Transformation = DataTransformerConfig


def matrix(row: str, column: str, row_title: str) -> list[Transformation]:
    """Return what makes a row of each value of the label *row* and a column of each of *column*, both sorted as text.

    Columns come in the order in which they are met first, so the lines are sorted by column before and by row after.
    """
    corner = f"{row}\\{column}"
    return [
        sorted_by(column),
        _of("groupingToMatrix", rowField=row, columnField=column, valueField="Value", emptyValue="null"),
        sorted_by(corner),
        _of("organize", excludeByName={}, indexByName={}, renameByName={corner: row_title}),
    ]


def joined(titles: Mapping[str, str], sort: str, *, descending: bool = False) -> list[Transformation]:
    """Return what joins several queries on their label, the first of *titles*, which gives the order of columns.

    Not by merging: that leaves everything apart as soon as one query has no answer, as those about last week on the
    first day.
    """
    return [
        _of("filterFieldsByName", exclude={"names": ["Time"]}),
        _of("joinByField", byField=next(iter(titles)), mode="outer"),
        sorted_by(sort, descending=descending),
        _columns(titles),
    ]


def listed(titles: Mapping[str, str], sort: str, *, descending: bool = False) -> list[Transformation]:
    """Return what shows one query: a row per series, columns in the order of *titles*."""
    return [
        _of("filterFieldsByName", exclude={"names": ["Time"]}),
        sorted_by(sort, descending=descending),
        _columns(titles),
    ]


def sorted_by(field: str, *, descending: bool = False) -> Transformation:
    """Return what sorts rows by one column."""
    order: dict[str, object] = {"field": field}
    if descending:
        order["desc"] = True
    return _of("sortBy", fields={}, sort=[order])


def _columns(titles: Mapping[str, str]) -> Transformation:
    places = {name: place for place, name in enumerate(titles)}
    return _of("organize", excludeByName={}, indexByName=places, renameByName=dict(titles))


def _of(name: str, **options: object) -> Transformation:
    return DataTransformerConfig(id_val=name, options=options)
