"Units, and a backtest's facts, as tables of a terminal."

from collections.abc import Iterable
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text


def number(x: Any, form: str = "+.3f", unit: str = "") -> str:
    "A figure in its format; a dash where it is undefined."
    return "–" if x is None else x if isinstance(x, str) else f"{x:{form}}{unit}"


def within(interval: dict[str, Any], form: str) -> str:
    "An interval, or nothing where there is none."
    return "" if interval["low"] is None else f"{number(interval['low'], form)} to {number(interval['high'], form)}"


def columns(left: Iterable[str], right: Iterable[str] = (), last: Iterable[str] = (), **options: Any) -> Table:
    "An empty table without lines: text columns, number columns, text columns."
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), title_justify="left", title_style="bold", **options)
    for names, side in ((left, "left"), (right, "right"), (last, "left")):
        for name in names:
            table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    return table


def units(rows: list[dict[str, Any]], width: int) -> Table:
    "Every unit on a line of its own; the summary gets what is left of the width, if that is enough."
    cells = [["" if row[k] is None else str(row[k]) for k in ("kind", "name", "warmup", "module", "notebook")] for row in rows]
    names = ("kind", "name", "warm-up", "module", "notebook")
    left = width - sum(max(len(row[k]) for row in [names, *cells]) + 2 for k in range(len(names)))
    table = columns(("kind", "name"), ("warm-up",), ("module", "notebook"))
    if left >= 30:
        table.add_column("what it is", no_wrap=True, overflow="ellipsis", max_width=left)
    for line, row in zip(cells, rows):
        table.add_row(*line, *([row["summary"]] if left >= 30 else []))
    return table


def strategies(rows: list[dict[str, Any]], width: int) -> Table:
    "A strategy a line."
    table = columns(("strategy", "runs on"), ("minutes", "warm-up"), ("modes",))
    table.add_column("what it is", no_wrap=True, overflow="ellipsis", max_width=max(30, width - 80))
    for row in rows:
        numbers = ("" if row[k] is None else str(row[k]) for k in ("minutes", "warmup"))
        table.add_row(row["name"], row["runs_on"], *numbers, " ".join(row["modes"]).lower(), row["summary"])
    return table


def answer(one: dict[str, Any]) -> Group:
    "What a strategy saw and what the gates said."
    table = columns(("", "gate"), (), ("saw", "reason"))
    for v in one["verdicts"]:
        table.add_row(Text("yes", style="green") if v["passed"] else Text("no", style="red"), v["gate"], v["value"], v["reason"])
    return Group(Text(one["said"], style="bold" if one["verdicts"] else ""), *([table] if one["verdicts"] else []))


def unit(facts: dict[str, Any]) -> Group:
    "One unit: what it is, its parameters with their ranges, what feeds it, what it gives."
    kind = "bar" if facts["series"] is None else "row"
    where = f"{facts['call']} of {facts['module']}" + (f", steps on rows of {facts['series']}" if facts["series"] else "")
    warm = "" if facts["warmup"] is None else f", speaks first at {kind} {facts['warmup']}"
    lines = [facts["summary"], where + warm, f"explained in {facts['notebook'] or 'its own package'}"]
    of = columns(("parameter", "type"), ("default", "from", "to"))
    for p in facts["parameters"]:
        values = (p[k] for k in ("default", "low", "high"))
        of.add_row(p["name"], p["type"], *("" if x is None else f"{x:g}" if isinstance(x, float) else str(x) for x in values))
    fed = columns(("fed from", "unit", "with"))
    for label, f in (facts["inputs"] or {}).items():
        fed.add_row(label, f["unit"], ", ".join(f["inputs"]) + (f" of {f['minutes']} minutes" if f["minutes"] else ""))
    parts: list[Any] = [Text(facts["name"], style="bold"), Text("\n".join(lines))]
    parts += [table for table in (of, fed) if table.row_count]
    if facts["outputs"]:
        parts.append(Text(f"gives {', '.join(facts['outputs'])}"))
    return Group(*parts)


def head(report: dict[str, Any]) -> Text:
    "What was run, over what, and how sure one may be."
    symbols, basis, days = report["symbols"], report["basis"], report["equity"]["days"]
    shown = ", ".join(symbols[:12]) + (f" and {len(symbols) - 12} more" if len(symbols) > 12 else "")
    lines = [
        f"{len(symbols)} {'symbol' if len(symbols) == 1 else 'symbols'}: {shown}",
        f"{report['start']} to {report['end']} UTC, {days} days",
        f"each trade risks {basis['risk_fraction']:.1%} of the initial {basis['capital']:,.0f}, nothing compounds; intervals hold 95 %",
    ]
    label = (report["label"], "bold yellow" if report["objections"] else "bold green")
    return Text.assemble((report["strategy"], "bold"), "  ", label, "\n", ("\n".join(lines), "dim"))


def figures(report: dict[str, Any]) -> Table:
    "The main numbers, each with its interval or the reason why there is none."
    t, e, why = report["stats"], report["equity"], report["undefined"]
    costs, exposure, fall = report["costs_r"], report["exposure"], e["drawdown"]
    ended = f"{report['cancelled']} cancelled, {report['cut_off']} cut off by the end of the data"
    share = number(costs["share_of_gross_gains"], ".0%")
    held = f"mean position {number(exposure['leverage'], '.2f')} of the capital, turnover {number(exposure['turnover'], '.0f')} a year"
    fallen = f"longest {fall['longest']} days, under water {number(fall['under_water'], '.0%')} of all days"

    def given(name: str, form: str) -> str:
        return within(t[name + "_interval"], form) or why.get(name + "_interval", "")

    rows = [("trades", str(t["n"]), f"{t['wins']} won, {t['losses']} lost, {t['breakevens']} even; {ended}")]
    if t["n"]:
        rows += [
            ("win rate", number(t["win_rate"], ".1%"), given("win_rate", ".1%")),
            ("  after costs", number(t["net_win_rate"], ".1%"), ""),
            ("expectancy, net", number(t["expectancy"], unit=" R"), given("expectancy", "+.3f")),
            ("profit factor", number(t["profit_factor"], ".2f"), given("profit_factor", ".2f")),
            ("payoff", number(t["payoff"], ".2f"), why.get("payoff", "mean gain over mean loss")),
            ("SQN", number(t["sqn"], ".2f"), why.get("sqn", "")),
            ("total, net", number(t["total_r"], "+.1f", " R"), f"{number(e['total'], '+.1%')} of the capital"),
            ("  before costs", number(t["gross_r"], "+.1f", " R"), "fees and funding left out, slippage in"),
            ("costs, a trade", "", f"costs take {share} of all gross gains" if share != "–" else "no gross gain to pay costs from"),
            ("  fees", number(costs["fees"], ".3f", " R"), ""),
            ("  slippage", number(costs["slippage"], ".3f", " R"), ""),
            ("  funding", number(costs["funding"], unit=" R"), "; ".join(unpaid(report)) or "received less paid"),
            ("Sharpe, daily", number(e["sharpe"], "+.2f"), why.get("sharpe", f"t of the mean day {number(e['newey_west_t'], '+.2f')}")),
            ("Sortino, daily", number(e["sortino"], "+.2f"), why.get("sortino", "")),
            ("CAGR, Calmar", number(e["cagr"], "+.1%"), number(e["calmar"], ".2f")),
            ("drawdown", number(fall["depth"], ".1%"), fallen),
            ("in the market", number(exposure["time_in_market"], ".1%"), held),
        ]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def unpaid(report: dict[str, Any]) -> list[str]:
    "Where funding was not charged."
    lacking = report["unpaid_funding"].items()
    return [f"{symbol}: no series" if n < 0 else f"{symbol}: {n} missing" for symbol, n in lacking if n]


def both(report: dict[str, Any]) -> Table:
    "Both readings of bars that touch stop and target."
    bounds, n = report["bounds"], report["bounds"]["ambiguous"]
    title = f"stop and target in one bar: {n} {'trade' if n == 1 else 'trades'}"
    table = columns(("",), ("total R", "expectancy", "win rate", "profit factor"), title=title)
    for name, s in (("stop first (pessimistic)", bounds["stop_first"]), ("target first (optimistic)", bounds["target_first"])):
        cells = [number(s["total_r"], "+.1f"), number(s["expectancy"]), number(s["win_rate"], ".1%"), number(s["profit_factor"], ".2f")]
        table.add_row(name, *cells)
    return table


def groups(report: dict[str, Any]) -> Table:
    "Where the result came from."
    table = columns(("by", ""), ("n", "win rate", "expectancy", "95 %", "total R"))
    for by, rows in report["groups"].items():
        for k, (name, s) in enumerate(rows.items()):
            cells = [str(s["n"]), number(s["win_rate"], ".0%"), number(s["expectancy"]), within(s["expectancy_interval"], "+.2f")]
            table.add_row("" if k else by, name, *cells, number(s["total_r"], "+.1f"))
    return table


def trades(rows: list[dict[str, Any]]) -> Table:
    "Every published signal."
    table = columns(("decided", "symbol", "side"), ("score", "entry", "stop", "exit", "bars", "net R"), ("how",))
    for row in rows:
        net = row.get("net_r")
        color = "dim" if not net else "green" if net > 0 else "red"
        prices = [number(row.get(name), ".6g") for name in ("entry", "stop", "exit")]
        cells = [row["decided"][:16], row["symbol"], row["side"], number(row["score"], ".0f"), *prices, str(row.get("bars", ""))]
        table.add_row(*cells, Text(number(net, "+.2f"), color), row["exit_type"] + (" (marked)" if row.get("marked") else ""))
    return table


def verdict(report: dict[str, Any]) -> Group:
    "The word, and each reason for it."
    n, short = report["trials"], report["too_short"]
    tried = f" ({n} {'configuration' if n == 1 else 'configurations'} tried)" + (", because" if report["objections"] else "")
    notes = [f"{symbol} has {n} bars, the strategy first speaks at bar {report['warmup']}: give it more" for symbol, n in short.items()]
    lines = [Text(f"  - {line}") for line in [*notes, *report["objections"]]]
    return Group(Text.assemble((report["label"], "bold yellow" if report["objections"] else "bold green"), tried), *lines)
