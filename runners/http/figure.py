"Draws the page's empty charts, light and dark, as JSON for BokehJS. Run as a program of its own."

import json
import sys
from typing import Any

from bokeh.embed import json_item
from bokeh.models import (
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
    PanTool,
    Range1d,
    ResetTool,
    Span,
    TapTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
THEMES = {
    "light": dict(
        text="#5b6472",
        grid="#e8ebf0",
        up="#0f9d6e",
        down="#d6455d",
        stop="#d6455d",
        target="#0f9d6e",
        entry="#2257d6",
        line="#2257d6",
        ink="#1c2430",
        halo="#ffffff",
    ),
    "dark": dict(
        text="#8b97a8",
        grid="#202a38",
        up="#2fbf8f",
        down="#ef6a7f",
        stop="#ef6a7f",
        target="#2fbf8f",
        entry="#6ea1ff",
        line="#6ea1ff",
        ink="#e6ebf2",
        halo="#121a26",
    ),
}
COLUMNS = dict(
    candles=("time", "open_time", "open", "high", "low", "close", "volume", "top", "bottom", "color", "width"),
    entries=("id", "time", "price", "side", "strategy", "mode", "final", "status", "angle"),
    exits=("id", "time", "price", "exit_type", "gross_r", "color"),
    stops=("id", "begin", "end", "price", "alpha"),
    targets=("id", "begin", "end", "price", "alpha"),
    equity=("xs", "ys", "account", "color"),
)


def clock() -> DatetimeTickFormatter:
    "Hours and minutes, with the day below where it changes."
    below = DatetimeTickFormatter(hours="%d %b", minutes="%d %b", hourmin="%d %b", days="", months="", years="")
    return DatetimeTickFormatter(
        minutes="%H:%M", hourmin="%H:%M", hours="%H:%M", days="%d %b", months="%b %Y", context=below, context_which="start"
    )


def empty(name: str) -> ColumnDataSource:
    "A source that the page fills, found by its name."
    return ColumnDataSource({column: [] for column in COLUMNS[name]}, name=name)


def plain(theme: dict[str, str], height: int, **more: Any) -> Any:
    "A figure without furniture: transparent, thin grid, time below, prices on the right."
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        y_axis_location="right",
        toolbar_location=None,
        tools="",
        output_backend="canvas",
        **more,
    )
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None
    plot.min_border_left, plot.min_border_right, plot.min_border_top, plot.min_border_bottom = 4, 68, 8, 26
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = None
        axis.major_label_text_color, axis.major_label_text_font, axis.major_label_text_font_size = theme["text"], FONT, "11px"
    plot.grid.grid_line_color = theme["grid"]
    plot.xaxis.formatter = clock()
    return plot


def candles(theme: dict[str, str]) -> Any:
    "Candles and volume; each signal with its entry, its stop as it moved, its targets, its end."
    plot = plain(theme, 440, x_range=Range1d(start=0, end=1, name="window"), y_range=Range1d(start=0, end=1, name="height"))
    bars, stops, targets, entries, exits = (empty(name) for name in ("candles", "stops", "targets", "entries", "exits"))
    plot.extra_y_ranges = {"volume": Range1d(start=0, end=1, name="volume")}
    plot.vbar(
        "time",
        top="volume",
        bottom=0,
        width="width",
        source=bars,
        fill_color="color",
        fill_alpha=0.16,
        line_color=None,
        y_range_name="volume",
    )
    plot.segment("time", "high", "time", "low", source=bars, line_color="color")
    body = plot.vbar("time", top="top", bottom="bottom", width="width", source=bars, fill_color="color", line_color=None)
    lines = [
        plot.segment(
            "begin", "price", "end", "price", source=source, line_color=theme[color], line_dash="dashed", line_width=1.5, line_alpha="alpha"
        )
        for source, color in ((stops, "stop"), (targets, "target"))
    ]
    closed = plot.scatter(
        "time", "price", source=exits, marker="circle_x", size=11, fill_color=theme["halo"], line_color="color", line_width=2
    )
    begun = plot.scatter(
        "time",
        "price",
        source=entries,
        marker="triangle",
        angle="angle",
        size=13,
        fill_color=theme["entry"],
        line_color=theme["halo"],
        line_width=1.5,
    )
    for marks in (closed, begun, *lines):
        marks.nonselection_glyph = None
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00000]")
    last = Span(dimension="width", location=0, line_color=theme["text"], line_dash="dotted", line_alpha=0.7, name="last", visible=False)
    plot.add_layout(last)
    shown = [
        ("", "@open_time{%d %b %H:%M}"),
        ("O", "@open{0,0.[00000]}"),
        ("H", "@high{0,0.[00000]}"),
        ("L", "@low{0,0.[00000]}"),
        ("C", "@close{0,0.[00000]}"),
        ("Vol", "@volume{0.0a}"),
    ]
    wheel = WheelZoomTool(dimensions="width")
    plot.add_tools(
        PanTool(dimensions="width"),
        wheel,
        ResetTool(),
        BoxZoomTool(dimensions="width"),
        CrosshairTool(line_color=theme["text"], line_alpha=0.5),
        HoverTool(renderers=[body], tooltips=shown, formatters={"@open_time": "datetime"}, mode="vline", point_policy="follow_mouse"),
        HoverTool(renderers=[begun], tooltips=[("@side", "@strategy @mode"), ("entry", "@price{0,0.[00000]}"), ("score", "@final{0.0}")]),
        HoverTool(renderers=[closed], tooltips=[("@exit_type", "@gross_r{+0.00} R"), ("at", "@price{0,0.[00000]}")]),
        TapTool(renderers=[begun, closed]),
    )
    plot.toolbar.active_scroll = wheel
    return plot


def equity(theme: dict[str, str]) -> Any:
    "What each account is worth."
    plot = plain(theme, 180, x_range=Range1d(start=0, end=1, name="span"), y_range=Range1d(start=0, end=1, name="worth"))
    lines = plot.multi_line("xs", "ys", source=empty("equity"), line_width=2, line_color="color")
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[00]")
    plot.yaxis.ticker.desired_num_ticks = 4
    plot.add_tools(
        HoverTool(
            renderers=[lines],
            tooltips=[("@account", "$y{0,0.00}"), ("", "$x{%d %b %H:%M}")],
            formatters={"$x": "datetime"},
            line_policy="nearest",
        )
    )
    return plot


def main() -> None:
    "Print every chart in every theme."
    items = {
        name: {"palette": theme, "candles": json_item(candles(theme)), "equity": json_item(equity(theme))} for name, theme in THEMES.items()
    }
    json.dump(items, sys.stdout)


if __name__ == "__main__":
    main()
