"""The page of a storage report: one file, no script, light and dark.

Invariant: everything that comes from the exports is escaped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment
from markupsafe import Markup

from reports.storage import StorageReport
from reports.storage_features import DIRECTIONS, GB, tiers_of
from reports.storage_summary import by_quantile, by_tier
from reports.storage_svg import bars

_MOST_ROWS = 50
_PAGE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Storage users before {{ before }}</title>
<style>
:root { --ground: #fbfbfa; --panel: #fff; --ink: #1c2126; --soft: #555e68; --line: #dcdfe3; --a: #2d6fb3; --b: #b3632d;
  color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --panel: #1a1e22; --ink: #e5e8eb; --soft: #a4adb7;
  --line: #333a41; --a: #6ba6e2; --b: #e2a06b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 20px 24px 60px; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
h1 { font-size: 22px; margin: 0 0 6px; } h2 { font-size: 17px; margin: 30px 0 6px; }
h3 { font-size: 14px; margin: 20px 0 4px; }
p { margin: 6px 0; } .soft, figcaption, caption { color: var(--soft); font-size: 13px; text-align: left; }
.scroll { overflow-x: auto; } .scroll th { white-space: nowrap; }
table { border-collapse: collapse; background: var(--panel); }
th, td { padding: 3px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 16px; }
figure { margin: 8px 0; padding: 8px; background: var(--panel); border: 1px solid var(--line); border-radius: 4px; }
.bars { width: 100%; height: auto; display: block; } .a { fill: var(--a); } .b { fill: var(--b); }
.axis { stroke: var(--line); } .label, .value { fill: var(--soft); font-size: 14px; text-anchor: middle; }
.value { fill: var(--ink); font-size: 12px; } .key { margin-left: 10px; white-space: nowrap; }
</style></head><body>
<main>
<h1>Storage users before {{ before }}</h1>
<p class="soft">{{ months|length }} full months: {{ months[0] }} to {{ months[-1] }}, UTC. GB are 10⁹ bytes. Bytes of
traffic are settled ones. A project is free up to a limit of {{ free }} GB.</p>
<table><tbody>
{% for name, value in figures %}
<tr><th scope="row">{{ name }}</th><td class="number">{{ value }}</td></tr>
{% endfor %}
</tbody></table>
<h2>Pictures</h2>
<div class="pictures">{% for picture in pictures %}{{ picture }}{% endfor %}</div>
{% for section in sections %}
{% if section.part %}<h2>{{ section.part }}</h2>{% endif %}
<h3>{{ section.title }}</h3>
{% if section.note %}<p class="soft">{{ section.note }}</p>{% endif %}
{% if section.rows %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ section.title }}"><table>
<thead><tr>{% for name, numeric in section.columns %}
<th scope="col"{% if numeric %} class="number"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.rows %}
<tr>{% for value, numeric in row %}<td{% if numeric %} class="number"{% endif %}>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% if section.more %}<p class="soft">{{ section.more }} more in storage-{{ section.name }}.csv.</p>{% endif %}
{% else %}<p>Nothing found.</p>{% endif %}
{% endfor %}
</main></body></html>
""")


def page(report: StorageReport) -> str:
    """Return the page."""
    return _PAGE.render(
        before=f"{report.options.before:%Y-%m-%d}",
        months=report.window.months,
        free=f"{report.options.free_bytes / GB:g}",
        figures=figures(report),
        pictures=[Markup(picture) for picture in _pictures(report)],  # made here, of numbers and escaped words
        sections=_sections(report),
    )


def figures(report: StorageReport) -> list[tuple[str, str]]:
    """Return what is said first: names and values as text."""
    users, last = report.users, f"last_{len(report.window.months)}_months"
    tiers = tiers_of(report.projects, report.options.free_bytes)
    found = [
        ("users", f"{len(users):,}"),
        ("projects", f"{len(report.projects):,}"),
        ("free projects", f"{int((tiers == 'free').sum()):,}"),
        ("users with free projects", f"{_above(users, 'free_projects'):,}"),
    ]
    if report.traffic is not None:
        found += [
            (f"users with uploads, {report.window.months[0]} to {report.window.months[-1]}",
             f"{_above(users, f'uploads_{last}'):,}"),
            ("users with downloads, same months", f"{_above(users, f'downloads_{last}'):,}"),
            ("uploaded, same months", f"{_sum(users, f'upload_bytes_{last}') / GB:,.1f} GB"),
            ("downloaded, same months", f"{_sum(users, f'download_bytes_{last}') / GB:,.1f} GB"),
        ]  # fmt: skip
    if pc.count(users.column("stored_bytes")).as_py():
        found.append(("stored last", f"{_sum(users, 'stored_bytes') / GB:,.1f} GB"))
    if report.nodes is not None:
        found += [
            ("nodes", f"{len(report.nodes.nodes):,}"),
            ("nodes never contacted, left out", f"{len(report.nodes.never):,}"),
            ("wallets", f"{len(report.nodes.wallets):,}"),
        ]
        for name in ("paid", "received"):
            total = pc.sum(report.nodes.nodes.column(name)).as_py()
            if total is not None:
                found.append((f"{name} (nodes that were contacted)", f"{total:,.6f}"))
    return found


def _pictures(report: StorageReport) -> list[str]:
    users, months = report.users, report.window.months
    last = f"last_{len(months)}_months"
    made = []
    if report.traffic is not None:
        by_month = [
            (f"{d}ed", [_sum(users, f"{d}_bytes_{m.replace('-', '_')}") / GB for m in months]) for d in DIRECTIONS
        ]
        made.append(bars("Traffic by month", list(months), by_month, " GB"))
        active = [(f"with {d}s", [_above(users, f"{d}s_{m.replace('-', '_')}") for m in months]) for d in DIRECTIONS]
        made.append(bars("Users by month", list(months), active))
        labels, counts = _by_size({f"{d}ed": users.column(f"{d}_bytes_{last}") for d in DIRECTIONS})
        made.append(bars("Users by bytes in these months", labels, counts))
        inside = report.traffic.month >= 0
        hours = [
            (f"{d}s", np.bincount(report.traffic.hour[inside & (report.traffic.direction == at)] % 24, minlength=24))
            for at, d in enumerate(DIRECTIONS)
        ]
        named = [(name, [float(n) for n in counts]) for name, counts in hours]
        made.append(bars("Rows of traffic by hour of the day (UTC)", [f"{hour:02d}" for hour in range(24)], named))
    tiers = users.column("tier").to_pylist()
    counts_of = [float(sum(tier == name for tier in tiers)) for name in ("free", "paid", None)]
    made.append(bars("Users by tier", ["free", "paid", "no project or limit"], [("users", counts_of)]))
    if pc.count(users.column("stored_bytes")).as_py():
        labels, counts = _by_size({"users": users.column("stored_bytes")})
        made.append(bars("Users by bytes stored", labels, counts))
    return made


def _by_size(columns: dict[str, Any]) -> tuple[list[str], list[tuple[str, list[float]]]]:
    """Return how many users have bytes of each power of ten; those without any are the first."""
    sizes = ["none", "< 1 kB", "1 kB", "10 kB", "100 kB", "1 MB", "10 MB", "100 MB", "1 GB", "10 GB", "100 GB",
             "1 TB", "10 TB", "≥ 100 TB"]  # fmt: skip
    edges = np.array([1, *(10**power for power in range(3, 15))], np.int64)
    found = []
    for name, column in columns.items():
        values = column.drop_null().to_numpy()
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(sizes))
        found.append((name, [float(count) for count in counts]))
    return sizes, found


def _sections(report: StorageReport) -> list[dict[str, Any]]:
    months = report.window.months
    by_them = f"{months[0]} to {months[-1]}; stored is the latest size."
    found = [
        _section("by-tier", "By tier", by_them, by_tier(report.users, months), "Users"),
        _section("quantiles", "How much users have", by_them, by_quantile(report.users, months)),
    ]
    for at, each in enumerate(report.sections):
        part = "" if at else "Data quality"
        found.append(_section(f"quality-{each.name}", each.title, each.note, each.frame, part))
    return found


def _section(name: str, title: str, note: str, frame: pd.DataFrame, part: str = "") -> dict[str, Any]:
    """Return what the page shows of a table; *part* is the heading that begins with it."""
    numeric = [kind.kind in "iuf" for kind in frame.dtypes]
    rows = [
        [(_number(value) if is_number else value, is_number) for value, is_number in zip(row, numeric, strict=True)]
        for row in frame.head(_MOST_ROWS).itertuples(index=False)
    ]
    return {
        "name": name, "title": title, "note": note, "rows": rows, "part": part,
        "columns": [(str(name).replace("_", " "), is_number) for name, is_number in zip(frame, numeric, strict=True)],
        "more": f"{len(frame) - _MOST_ROWS:,}" if len(frame) > _MOST_ROWS else "",
    }  # fmt: skip


def _number(value: Any) -> str:
    """Return a number as text; what is not known is a dash.

    >>> _number(12_345), _number(0.000123456), _number(float("nan"))
    ('12,345', '0.000123', '–')
    """
    if value != value or value is None:
        return "–"
    return f"{value:,.3g}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def _above(users: pa.Table, name: str) -> int:
    return int(pc.sum(pc.greater(users.column(name), 0)).as_py() or 0)


def _sum(users: pa.Table, name: str) -> int:
    """Return an exact sum: Arrow's would wrap around."""
    return sum(value for value in users.column(name).to_pylist() if value is not None)
