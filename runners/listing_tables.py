"A backtest's facts as tables of a terminal."

from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def number(x: Any, form: str = "+.3f", unit: str = "") -> str:
    "A figure in its format; a dash where it is undefined."
    return "–" if x is None else x if isinstance(x, str) else f"{x:{form}}{unit}"


def within(interval: dict[str, Any], form: str) -> str:
    "An interval, or nothing where there is none."
    return "" if interval["low"] is None else f"{number(interval['low'], form)} to {number(interval['high'], form)}"


def head(report: dict[str, Any]) -> Text:
    "What was run, over what, and how sure one may be."
    basis = report["basis"]
    text = Text.assemble((report["strategy"], "bold"), "  ", (report["label"], "bold yellow" if report["label"] == "unproven" else "bold green"), "\n")
    text.append(f"{len(report['symbols'])} symbols: {', '.join(report['symbols'])}\n{report['start']} to {report['end']} UTC, {report['equity']['days']} days\n", "dim")
    text.append(f"each trade risks {basis['risk_fraction']:.1%} of the initial {basis['capital']:,.0f}, nothing compounds; 95 % intervals", "dim")
    return text


def figures(report: dict[str, Any]) -> Table:
    "The main numbers with their intervals."
    t, e, costs, exposure, why = report["trades"], report["equity"], report["costs_r"], report["exposure"], report["undefined"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim", overflow="fold")
    fall = e["drawdown"]
    rows = [
        ("trades", str(t["n"]), f"{t['wins']} won, {t['losses']} lost, {t['breakevens']} even; {report['cancelled']} cancelled, {report['cut_off']} cut off by the end of the data"),
        ("win rate", number(t["win_rate"], ".1%"), within(t["win_rate_interval"], ".1%") or why.get("win_rate", "")),
        ("  after costs", number(t["net_win_rate"], ".1%"), ""),
        ("expectancy, net", number(t["expectancy"], unit=" R"), within(t["expectancy_interval"], "+.3f") or why.get("expectancy_interval", "")),
        ("profit factor", number(t["profit_factor"], ".2f"), within(t["profit_factor_interval"], ".2f") or why.get("profit_factor_interval", "")),
        ("payoff", number(t["payoff"], ".2f"), why.get("payoff", "mean gain over mean loss")),
        ("SQN", number(t["sqn"], ".2f"), why.get("sqn", "")),
        ("total", number(t["total_r"], "+.1f", " R"), f"{number(t['gross_r'], '+.1f')} R before fees and funding; {number(e['total'], '+.1%')} of the capital"),
        ("fees, a trade", number(costs["fees"], ".3f", " R"), f"slippage {number(costs['slippage'], '.3f')} R, funding {number(costs['funding'])} R; costs are {number(costs['share_of_gross_gains'], '.0%')} of all gross gains"),
        ("Sharpe, daily", number(e["sharpe"], "+.2f"), why.get("sharpe", f"t of the mean day {number(e['newey_west_t'], '+.2f')}")),
        ("Sortino, daily", number(e["sortino"], "+.2f"), why.get("sortino", "")),
        ("drawdown", number(fall["depth"], ".1%"), f"longest {fall['longest']} days, under water {number(fall['under_water'], '.0%')} of the time"),
        ("in the market", number(exposure["time_in_market"], ".0%"), f"mean position {number(exposure['leverage'], '.2f')} of the capital, turned over {number(exposure['turnover'], '.0f')} times a year"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def both(report: dict[str, Any]) -> Table:
    "Both readings of bars that touch stop and target."
    low, high, n = report["bounds"]["stop_first"], report["bounds"]["target_first"], report["bounds"]["ambiguous"]
    table = Table(title=f"stop and target in one bar: {n} trades", title_justify="left", title_style="bold", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("", "total R", "expectancy", "win rate", "profit factor"):
        table.add_column(name, justify="right" if name else "left")
    for name, side in (("stop first (pessimistic)", low), ("target first (optimistic)", high)):
        table.add_row(name, number(side["total_r"], "+.1f"), number(side["expectancy"]), number(side["win_rate"], ".1%"), number(side["profit_factor"], ".2f"))
    return table


def groups(report: dict[str, Any]) -> list[Table]:
    "Where the result came from."
    if not report["trades"]["n"]:
        return []
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("by", "", "n", "win rate", "expectancy", "95 %", "total R"):
        table.add_column(name, justify="left" if name in ("by", "") else "right")
    for by, rows in report["groups"].items():
        for k, (name, s) in enumerate(rows.items()):
            table.add_row(by if k == 0 else "", name, str(s["n"]), number(s["win_rate"], ".0%"), number(s["expectancy"]), within(s["expectancy_interval"], "+.2f"), number(s["total_r"], "+.1f"))
    return [table]


def trades(rows: list[dict[str, Any]]) -> Table:
    "Every published signal."
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("decided", "symbol", "side", "score", "entry", "stop", "exit", "bars", "how", "net R"):
        table.add_column(name, justify="right" if name in ("score", "entry", "stop", "exit", "bars", "net R") else "left", no_wrap=True)
    for row in rows:
        net = row.get("net_r")
        table.add_row(row["decided"][:16], row["symbol"], row["side"], number(row["score"], ".0f"), number(row.get("entry"), ".6g"), number(row["stop"], ".6g"), number(row.get("exit"), ".6g"),
                      str(row.get("bars", "")), row["exit_type"], Text(number(net, "+.2f"), "green" if (net or 0) > 0 else "red" if (net or 0) < 0 else "dim"))
    return table


def verdict(report: dict[str, Any]) -> Group:
    "The word, and each reason for it."
    tried = f"{report['trials']} configuration{'s' if report['trials'] != 1 else ''} tried"
    return Group(Text.assemble((report["label"], "bold yellow" if report["objections"] else "bold green"), f" ({tried})" + (", because" if report["objections"] else "")),
                 *(Padding(Text(f"- {line}"), (0, 0, 0, 2)) for line in report["objections"]))
