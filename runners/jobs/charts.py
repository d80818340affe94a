"The pictures and tables of the reports."

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from bokeh.models import ColumnDataSource, DatetimeTickFormatter, HoverTool, Range1d, Span
from bokeh.palettes import Category10_10
from bokeh.plotting import figure
from IPython.display import HTML

from perps_kit.core.clock import HOUR, iso
from runners.jobs.report import Gate, Trade, Window

GOOD, BAD, CALM, LINE = "#0e9f6e", "#d9464f", "#3b6fb6", "#98a2b3"
LONG = 60  # letters after which a cell of a table may break into lines
HOURS = DatetimeTickFormatter(hours="%H:%M", days="%d %b", hourmin="%H:%M", minutes="%H:%M")


def canvas(height: int = 260, **options: Any) -> Any:
    "An empty figure in the report's style."
    options = {"tools": "xpan,xwheel_zoom,reset,save", "active_scroll": None, **options}
    p = figure(height=height, sizing_mode="stretch_width", **options)
    p.toolbar.logo = None
    p.toolbar.autohide = True
    p.outline_line_color = None
    p.grid.grid_line_color = "#eef0f3"
    p.axis.axis_line_color = p.axis.major_tick_line_color = LINE
    p.axis.minor_tick_line_color = None
    p.axis.axis_label_text_font_style = "normal"
    return p


def over_time(window: Window, height: int = 260, **options: Any) -> Any:
    "A figure whose x axis is the window, in UTC."
    p = canvas(height, x_axis_type="datetime", x_range=Range1d(start=window.since, end=window.until), **options)
    p.xaxis.formatter = HOURS
    return p


def per_hour(times: Sequence[int], sides: Sequence[int], window: Window) -> Any:
    "Signals per hour of the window, longs above and shorts below the line."
    hours = sorted({time // HOUR * HOUR for time in times})
    long = [sum(1 for t, s in zip(times, sides) if t // HOUR * HOUR == h and s > 0) for h in hours]
    short = [sum(1 for t, s in zip(times, sides) if t // HOUR * HOUR == h and s < 0) for h in hours]
    source = ColumnDataSource({"hour": hours, "long": long, "short": [-n for n in short], "shorts": short})
    p = over_time(window, 200, y_axis_label="signals")
    p.vbar("hour", width=0.8 * HOUR, top="long", source=source, color=GOOD, legend_label="long")
    p.vbar("hour", width=0.8 * HOUR, top="short", source=source, color=BAD, legend_label="short")
    p.add_tools(
        HoverTool(tooltips=[("hour", "@hour{%d %b %H:%M}"), ("long", "@long"), ("short", "@shorts")], formatters={"@hour": "datetime"})
    )
    p.legend.orientation, p.legend.location, p.legend.border_line_color = "horizontal", "top_left", None
    return p


def r_per_trade(trades: Sequence[Trade]) -> Any:
    "Net R of each trade in the order in which they closed, and their running sum."
    total, sums = 0.0, []
    for trade in trades:
        total += trade.net_r
        sums.append(total)
    source = ColumnDataSource(
        {
            "n": list(range(1, len(trades) + 1)),
            "r": [t.net_r for t in trades],
            "gross": [t.gross_r for t in trades],
            "sum": sums,
            "color": [GOOD if t.net_r > 0 else BAD for t in trades],
            "symbol": [t.symbol for t in trades],
            "exit": [t.exit_type for t in trades],
            "side": ["long" if t.side > 0 else "short" for t in trades],
            "closed": [iso(t.closed) for t in trades],
        }
    )
    p = canvas(x_axis_label="trade, in order of closing", y_axis_label="R, net")
    bars = p.vbar("n", width=0.8, top="r", color="color", source=source)
    p.line("n", "sum", source=source, color=CALM, line_width=2, legend_label="running sum")
    p.add_layout(Span(location=0, dimension="width", line_color=LINE))
    p.add_tools(
        HoverTool(
            renderers=[bars],
            tooltips=[
                ("", "@symbol @side, @exit"),
                ("closed", "@closed"),
                ("net", "@r{0.00} R"),
                ("gross", "@gross{0.00} R"),
                ("sum", "@sum{0.00} R"),
            ],
        )
    )
    p.legend.location, p.legend.border_line_color = "top_left", None
    return p


def funnel(gates: Sequence[Gate]) -> Any:
    "Candidates that reached each gate, in order; the dark part went on."
    names = [gate.name for gate in gates]
    source = ColumnDataSource(
        {
            "gate": names,
            "reached": [g.reached for g in gates],
            "passed": [g.passed for g in gates],
            "stopped": [g.reached - g.passed for g in gates],
        }
    )
    p = canvas(60 + 24 * len(gates), y_range=list(reversed(names)), x_axis_label="candidates", tools="save")
    p.hbar("gate", height=0.7, right="reached", color="#d0d9e6", source=source)
    p.hbar("gate", height=0.7, right="passed", color=CALM, source=source)
    p.add_tools(HoverTool(tooltips=[("gate", "@gate"), ("reached", "@reached"), ("went on", "@passed"), ("stopped", "@stopped")]))
    p.x_range.start = 0
    p.ygrid.grid_line_color = None
    return p


def equity_lines(equity: dict[str, list[tuple[int, float]]], window: Window) -> Any:
    "What each account was worth at every close."
    p = over_time(window, y_axis_label="equity")
    for color, (account, points) in zip(Category10_10, equity.items()):
        source = ColumnDataSource({"time": [t for t, _ in points], "equity": [e for _, e in points], "account": [account] * len(points)})
        p.step("time", "equity", mode="after", source=source, color=color, line_width=2, legend_label=account)
    p.add_tools(HoverTool(tooltips=[("@account", "@equity{0,0.00}"), ("", "@time{%d %b %H:%M}")], formatters={"@time": "datetime"}))
    p.legend.location, p.legend.border_line_color = "top_left", None
    return p


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> HTML:
    "A plain table; numbers stand right, and every cell is escaped."

    def cell(value: Any) -> str:
        number = isinstance(value, (int, float))
        text = f"{value:,.6g}" if isinstance(value, float) else str(value)
        style = " class=number style=text-align:right" if number else " style=white-space:normal" if len(text) > LONG else ""
        return f"<td{style}>{escape(text)}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead><tbody>{body}</tbody></table>")


def running(sides: dict[str, Sequence[tuple[int, float]]], window: Window) -> Any:
    "The running sum of net R of several lists of (time, R), by the time of the signal."
    p = over_time(window, y_axis_label="R, net, running sum")
    for (name, points), color in zip(sides.items(), (CALM, "#d08b2e", GOOD, BAD)):
        total, sums = 0.0, []
        for _, r in points:
            total += r
            sums.append(total)
        p.step([t for t, _ in points], sums, mode="after", color=color, line_width=2, legend_label=name)
        p.scatter([t for t, _ in points], sums, color=color, size=5)
    p.add_layout(Span(location=0, dimension="width", line_color=LINE))
    p.legend.location, p.legend.border_line_color = "top_left", None
    return p


def histogram(sides: dict[str, Sequence[float]], label: str, parts: int = 24) -> Any:
    "Shares of values by size, as outlines over each other."
    from numpy import concatenate, histogram_bin_edges
    from numpy import histogram as counted

    edges = histogram_bin_edges(concatenate([list(x) for x in sides.values()]), parts)
    p = canvas(200, x_axis_label=label, y_axis_label="share", tools="save")
    for (name, values), color in zip(sides.items(), (CALM, "#d08b2e")):
        shares = counted(values, edges)[0] / max(1, len(values))
        p.quad(
            left=edges[:-1], right=edges[1:], bottom=0, top=shares, fill_color=color, fill_alpha=0.25, line_color=color, legend_label=name
        )
    p.legend.location, p.legend.border_line_color = "top_left", None
    return p


def spans(rows: Sequence[tuple[str, int, int, bool]]) -> Any:
    "From when to when each series reaches: name, start, end, whether it is sound."
    names = [name for name, *_ in rows]
    source = ColumnDataSource(
        {
            "name": names,
            "start": [a for _, a, _, _ in rows],
            "end": [b for _, _, b, _ in rows],
            "color": [CALM if ok else BAD for *_, ok in rows],
            "span": [f"{iso(a)} to {iso(b)}" for _, a, b, _ in rows],
        }
    )
    p = canvas(60 + 22 * len(rows), x_axis_type="datetime", y_range=list(reversed(names)), tools="save")
    p.hbar("name", height=0.6, left="start", right="end", color="color", source=source)
    p.add_tools(HoverTool(tooltips=[("", "@name"), ("", "@span")]))
    p.ygrid.grid_line_color = None
    return p


def moves(names: Sequence[str], values: Sequence[float], label: str) -> Any:
    "One number a symbol, up or down."
    source = ColumnDataSource({"name": list(names), "value": list(values), "color": [GOOD if x > 0 else BAD for x in values]})
    p = canvas(60 + 20 * len(names), y_range=list(reversed(names)), x_axis_label=label, tools="save")
    p.hbar("name", height=0.7, right="value", color="color", source=source)
    p.add_tools(HoverTool(tooltips=[("", "@name"), (label, "@value{0.00}")]))
    p.add_layout(Span(location=0, dimension="height", line_color=LINE))
    p.ygrid.grid_line_color = None
    return p


def rate_lines(series: dict[str, tuple[Sequence[int], Sequence[float]]], window: Window) -> Any:
    "Funding rates over time in percent, one line a symbol."
    p = over_time(window, 280, y_axis_label="funding, % a settlement")
    for color, (symbol, (times, values)) in zip(Category10_10 * (1 + len(series) // 10), series.items()):
        source = ColumnDataSource({"time": list(times), "rate": [100 * x for x in values], "symbol": [symbol] * len(times)})
        p.step("time", "rate", mode="after", source=source, color=color, line_width=1.5, legend_label=symbol)
    p.add_layout(Span(location=0, dimension="width", line_color=LINE))
    p.add_tools(HoverTool(tooltips=[("@symbol", "@rate{0.0000} %"), ("", "@time{%d %b %H:%M}")], formatters={"@time": "datetime"}))
    p.legend.location, p.legend.border_line_color, p.legend.click_policy = "top_left", None, "hide"
    return p
