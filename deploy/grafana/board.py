"""A whole dashboard: where its panels lie, its variables, and the links to the other dashboards and the page.

Invariant: the same program gives the same bytes. Ids count up in reading order, panels fill the 24 columns from the
left, and nothing that Grafana changes by itself (version, numeric id) is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from deploy.grafana.panels import SOURCE, Panel

PAGE = "http://127.0.0.1:6066"
"""Where a worker serves its page; in Grafana the constant `page` of each dashboard."""
ORG_PAGE = "${page:raw}/orgs/${__data.fields.org:percentencode}"
"""The page of the org of a table's row, with the reasons for its score."""

_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and what lies below it: panels of one height, as many in a line as fit."""

    title: str
    height: int
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str
    """Also its file's name; the uid is ``orgpulse-<name>``."""
    title: str
    description: str
    rows: Sequence[Row]
    since: str = "now-24h"
    variables: Sequence[build.QueryVariable] = ()


def render(board: Board) -> str:
    """Return the JSON of *board*, as Grafana imports and provisions it."""
    built = (
        build.Dashboard(board.title)
        .uid(f"orgpulse-{board.name}")
        .description(board.description)
        .tags(["orgpulse"])
        .timezone("browser")
        .time(board.since, "now")
        .refresh("30s")
        .editable()
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .variables([_page(), _filters(), *board.variables])
        .build()
    )
    built.panels, built.links = _placed(board.rows), _links()
    document = json.loads(json.dumps(built, cls=JSONEncoder))
    return json.dumps(_without_noise(document), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def org_variable(asks: str) -> build.QueryVariable:
    """Return the choice of an org out of the label of *asks*; ``all``, one of its values, is chosen at first."""
    return (
        build.QueryVariable("org")
        .label("Org")
        .description("Orgs with series of their own, and all of them together.")
        .datasource(SOURCE)
        .query({"query": f"label_values({asks}, org)", "refId": "orgs"})
        .current(dashboard.VariableOption(selected=True, text="all", value="all"))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(False)
        .include_all(False)
    )


def page_links() -> list[dict[str, object]]:
    """Return the links of a cell that names an org."""
    return [{"title": "Reasons, users and hours of ${__data.fields.org}", "url": ORG_PAGE, "targetBlank": True}]


def _page() -> build.ConstantVariable:
    return build.ConstantVariable("page").label("Address of a worker's page").value(PAGE)


def _filters() -> build.AdHocVariable:
    """Return what Grafana puts into every query by itself: one tenant's figures, say, or one worker's."""
    return (
        build.AdHocVariable("only")
        .label("Only")
        .description("Figures with these labels alone: tenant = NAME where there are tenants.")
        .datasource(SOURCE)
    )


def _links() -> list[dashboard.DashboardLink]:
    return [
        dashboard.DashboardLink(
            title="orgpulse",
            type_val=dashboard.DashboardLinkType.DASHBOARDS,
            tags=["orgpulse"],
            icon="external link",
            tooltip="The other dashboards",
            keep_time=True,
        ),
        _to_page("Page", "/", "Accounts at risk, with reasons"),
        _to_page("Runbooks", "/runbooks", "What to do about each alert"),
    ]


def _to_page(title: str, path: str, tooltip: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(
        title=title,
        type_val=dashboard.DashboardLinkType.LINK,
        url="${page:raw}" + path,
        icon="doc",
        tooltip=tooltip,
        target_blank=True,
    )


def _placed(rows: Sequence[Row]) -> list[dashboard.Panel | dashboard.RowPanel]:
    placed: list[dashboard.Panel | dashboard.RowPanel] = []
    top = 0
    for row in rows:
        heading = build.Row(row.title).collapsed(False).id(len(placed) + 1)
        placed.append(heading.grid_pos(dashboard.GridPos(h=1, w=_COLUMNS, x=0, y=top)).build())
        top, left = top + 1, 0
        for panel in row.panels:
            built = panel.build()
            width = built.grid_pos.w if built.grid_pos else _COLUMNS
            if left + width > _COLUMNS:
                top, left = top + row.height, 0
            built.id_val, built.grid_pos = len(placed) + 1, dashboard.GridPos(h=row.height, w=width, x=left, y=top)
            placed.append(built)
            left += width
        top += row.height
    return placed


def _without_noise(document: dict[str, Any]) -> dict[str, Any]:
    """Take out what the SDK writes everywhere and Grafana knows only elsewhere, or no longer."""
    for variable in document["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):  # of interval variables
            variable.pop(name, None)
    for link in document["links"]:
        link.pop("placement", None)  # in the bar, not in a menu
    for panel in document["panels"]:
        panel.pop("repeatDirection", None)
        if panel["type"] == "table":
            panel["options"].pop("footer", None)
    return document
