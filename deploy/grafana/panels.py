"""How a panel of ours looks: built with the types of Grafana's own SDK, always with title, description and unit.

Widths are in columns, of which a dashboard has 24. Invariant: every panel asks the one data source, says what to do in
its description, and says in words why it is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.colours import PLAIN, Steps

SOURCE = common.DataSourceRef(type_val="prometheus", uid="orgpulse-prometheus")

Panel: TypeAlias = table.Panel | timeseries.Panel | stat.Panel | heatmap.Panel
_Panel = TypeVar("_Panel", table.Panel, timeseries.Panel, stat.Panel, heatmap.Panel)
Property: TypeAlias = dashboard.DynamicConfigValue
Transformation: TypeAlias = dashboard.DataTransformerConfig


@dataclass(frozen=True, slots=True)
class Says:
    """What a panel says about itself."""

    title: str
    description: str
    """What it shows, and what to do."""
    unit: str
    """One of Grafana's, e.g. ``s`` or ``percentunit`` (0-1)."""
    nothing: str = "Nothing yet"
    """Shown instead of data that are not there."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A query and the name of its lines."""

    expr: str
    legend: str = ""


def figure(
    width: int,
    says: Says,
    expr: str,
    steps: Steps = PLAIN,
    texts: Mapping[str, str] | None = None,
    decimals: int | None = None,
) -> stat.Panel:
    """Return one number as of now, its background coloured by *steps*; *texts* are said instead of a value."""
    reduced = build_common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel = (
        stat.Panel()
        .targets([_now(Ask(expr), "A", PromQueryFormat.TIME_SERIES)])
        .reduce_options(reduced)
        .color_mode(common.BigValueColorMode.VALUE if steps is PLAIN else common.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
    )
    if texts:
        said = {value: dashboard.ValueMappingResult(text=text) for value, text in texts.items()}
        panel.mappings([dashboard.ValueMap(options=said)])
    if decimals is not None:
        panel.decimals(decimals)
    return _say(panel, width, says, steps)


def lines(
    width: int,
    says: Says,
    *asks: Ask,
    steps: Steps = PLAIN,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
    bars: bool = False,
    low: float | None = None,
    high: float | None = None,
) -> timeseries.Panel:
    """Return lines over time; edges of *steps* are drawn dashed, *colours* are by the lines' names."""
    panel = (
        timeseries.Panel()
        .targets([_over_time(ask, ref) for ask, ref in zip(asks, "ABCDEFGH", strict=False)])
        .legend(
            build_common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(
            build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(60 if stacked else 20 if bars else 0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(False)
    )
    if stacked:
        panel.stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if len(steps) > 1:
        panel.thresholds_style(build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    if low is not None:
        panel.min(low)
    if high is not None:
        panel.max(high)
    for name, colour in (colours or {}).items():
        panel.override_by_name(name, [_fixed(colour)])
    said = _say(panel, width, says, steps)
    return said.color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))


def rows(
    width: int,
    says: Says,
    *exprs: str,
    transformations: Sequence[Transformation] = (),
    overrides: Mapping[str, Sequence[Property]] | None = None,
    steps: Steps = PLAIN,
    coloured: bool = False,
    decimals: int | None = None,
) -> table.Panel:
    """Return a table of what is so now; *coloured* makes narrow cells with the colour of their step."""
    panel = table.Panel().targets(
        [_now(Ask(expr), ref, PromQueryFormat.TABLE) for expr, ref in zip(exprs, "ABCDEFGH", strict=False)]
    )
    panel.transformations(list(transformations)).show_header(True).cell_height(common.TableCellHeight.SM)
    panel.frame_index(0).mappings([_EMPTY])
    panel.cell_options(common.TableAutoCellOptions())
    if coloured:
        panel.cell_options(BACKGROUND).min_width(_NARROW_PIXELS)
        panel.align(common.FieldTextAlignment.CENTER)
        panel.override_by_field_type("number", [property_of("custom.wrapText", True)])
    if decimals is not None:
        panel.decimals(decimals)
    for name, properties in (overrides or {}).items():
        panel.override_by_name(name, list(properties))
    return _say(panel, width, says, steps)


def spread(width: int, says: Says, buckets: str) -> heatmap.Panel:
    """Return a histogram over time; *buckets* asks for rates by ``le``."""
    query = _over_time(Ask(buckets, "{{le}}"), "A").format(PromQueryFormat.HEATMAP)
    panel = (
        heatmap.Panel()
        .targets([query])
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Cividis")
            .scale(heatmap_models.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .fill("dark-orange")
            .steps(64)
            .reverse(False)
        )
        .y_axis(heatmap.YAxisConfig().unit(says.unit).axis_placement(common.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("reqps" if says.unit == "s" else "short"))
        .tooltip(heatmap.HeatmapTooltip().mode(common.TooltipDisplayMode.SINGLE).show_color_scale(True))
        .show_value(common.VisibilityMode.NEVER)
        .show_legend()
        .cell_gap(1)
    )
    return _say(panel, width, says, PLAIN)


# Without it every empty cell says what the whole table says when it is empty.
_EMPTY = dashboard.SpecialValueMap(
    options=dashboard.DashboardSpecialValueMapOptions(
        match=dashboard.SpecialValueMatch.NULL_AND_NAN,
        result=dashboard.ValueMappingResult(text="", color="transparent"),
    )
)
BACKGROUND = common.TableColoredBackgroundCellOptions(mode=common.TableCellBackgroundDisplayMode.BASIC)
# 24 hours beside each other: the number above its unit. By default a column is 150 pixels wide at least.
_NARROW_PIXELS = 50


def property_of(name: str, value: object) -> Property:
    """Return one property of an override."""
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def unit_of(unit: str) -> Property:
    """Return the unit of one column or line."""
    return property_of("unit", unit)


def coloured_by(steps: Steps) -> list[Property]:
    """Return what gives the cells of one column the colours of *steps*."""
    return [
        property_of("custom.cellOptions", BACKGROUND),
        property_of("thresholds", thresholds(steps).build()),
        property_of("color", {"mode": "thresholds"}),
    ]


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Return *steps* as Grafana has them."""
    found = [dashboard.Threshold(value=edge, color=colour) for edge, colour in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def _fixed(colour: str) -> Property:
    return property_of("color", {"mode": "fixed", "fixedColor": colour})


def _now(ask: Ask, ref: str, form: PromQueryFormat) -> prometheus.Dataquery:
    return _query(ask, ref).instant().format(form)


def _over_time(ask: Ask, ref: str) -> prometheus.Dataquery:
    return _query(ask, ref).range().format(PromQueryFormat.TIME_SERIES)


def _query(ask: Ask, ref: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().datasource(SOURCE).expr(ask.expr).ref_id(ref)
    return query.legend_format(ask.legend) if ask.legend else query


def _say(panel: _Panel, width: int, says: Says, steps: Steps) -> _Panel:
    """Give *panel* what every panel has."""
    panel.span(width).datasource(SOURCE).title(says.title).description(says.description)
    panel.unit(says.unit).no_value(says.nothing).thresholds(thresholds(steps))
    panel.color_scheme(build.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
    return panel
