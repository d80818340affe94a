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
        return f"<td{' class=number style=text-align:right' if number else ''}>{escape(text)}</td>"

    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead><tbody>{body}</tbody></table>")
