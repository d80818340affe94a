"`perps-kit portfolio`: strategies and symbols over one account, under its rules, in the order of time."

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.research import Data, Json, Moment, Symbols, candles, chosen, terminal, terms_of, together, tracked


def portfolio(
    strategy: Annotated[list[str] | None, typer.Option(
        "--strategy", help="Name of a strategy; may be given several times; all usual ones of quarter hours if not given.")] = None,
    data: Data = None,
    symbol: Symbols = None,
    start: Moment = None,
    end: Moment = None,
    account: Annotated[list[str] | None, typer.Option(
        help="A term of the account as name=value, such as balance=5000 or most_positions=3; may be given several times.")] = None,
    memory: Annotated[str, typer.Option(help="Strategies that the adaptive memory binds: usual, all or off.")] = "usual",
    top: Annotated[int | None, typer.Option(min=1, help="Each day only so many symbols: those most traded in thirty days.")] = None,
    detail: Annotated[bool, typer.Option("--detail", help="Let 1m candles, where the data has them, say what was touched first.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write pictures and numbers to a file for the browser.")] = None,
    trades: Annotated[bool, typer.Option(help="List every trade.")] = False,
    as_json: Json = False,
) -> None:
    "Backtest an account: what it would have followed, refused and made. Both readings of ambiguous bars."
    from perps_kit.backtest.account_report import note
    from perps_kit.backtest.lanes import lanes
    from perps_kit.backtest.portfolio import invested, most_traded
    from perps_kit.core.clock import timeframe_of
    from perps_kit.scoring.book import Pipeline
    from perps_kit.trackers.plan import TARGET_FIRST, Rules
    from runners import parity
    from runners.cli.experiments import one_sentence
    from runners.errors import ConfigError

    if memory not in ("usual", "all", "off"):
        raise ConfigError(f"--memory {memory}: use usual, all or off")
    named = {name: chosen(name, None) for name in strategy or usual()}
    settings, policy = parity.account_settings(dict(terms_of(account))), parity.memory_of(memory, named).terms
    frame = timeframe_of(min(it.minutes for it in named.values()))
    bars, funding, _ = candles(data, symbol, frame, start, end)
    found = lanes(named, bars, funding, over=tracked(not as_json))
    inside = minutes_of(data, list(bars), start, end) if detail else None
    more: dict[str, Any] = dict(grids=grids_of(data, list(bars)), balance=settings.balance, policy=policy, detail=inside,
                                universe=most_traded(bars, top) if top else None)
    if top and not any(names for _, names in more["universe"]):
        raise ConfigError("--top asks for thirty days of candles before the first trade, and there are not so many: leave it away")
    pipeline = Pipeline(enabled=frozenset(named))
    low, high = (invested(found, settings.terms, pipeline, rules, **more) for rules in (Rules(), Rules(policy=TARGET_FIRST)))
    with one_sentence():
        history = note(low, named, bars, funding, pipeline=pipeline, grids=more["grids"], top=top, detail=detail)
    facts = told(low, high, named, history)
    if html:
        from perps_kit.research.account_page import account_page

        account_page(low, html)
    if as_json:
        typer.echo(json.dumps(facts, allow_nan=False))
        return
    printed(low, high, facts, trades)
    if html:
        typer.echo(f"pictures: {html}")


def usual() -> list[str]:
    "The strategies of quarter hours that are on without being named."
    from perps_kit.core.registry import strategies
    from perps_kit.core.signal import trait

    return [name for name in together() if trait(strategies()[name], "enabled")]


def grids_of(data: Path | None, symbols: list[str]) -> dict[str, Any]:
    "What the venue takes in each symbol, where the data says it."
    from perps_kit.data.sample import sample_root
    from runners.live.following import grid_of
    from runners.venue.data import read_filters

    where = data or sample_root()
    known = read_filters((where if where.is_dir() else where.parent) / "symbols.json")
    return {s: grid_of(f) for s, f in known.items() if s in symbols}


def minutes_of(data: Path | None, symbols: list[str], start: str | None, end: str | None) -> dict[str, Any]:
    "1m candles by symbol, of those that have them."
    from runners.errors import ConfigError

    found: dict[str, Any] = {}
    for s in symbols:
        try:
            found |= candles(data, [s], "1m", start, end)[0]
        except ConfigError:
            continue
    if not found:
        raise ConfigError("the data holds no 1m candles of these symbols: leave --detail away, or download them")
    return found


def told(low: Any, high: Any, named: dict[str, Any], history: Any) -> dict[str, Any]:
    "The facts of both readings, as strict JSON."
    from perps_kit.backtest.account_report import account_report
    from perps_kit.backtest.account_report import facts as beside
    from perps_kit.backtest.evidence import evidence, undefined
    from perps_kit.backtest.report import breakdown
    from perps_kit.core.clock import iso
    from runners.listing import clean

    page, best = account_report(low), account_report(high)
    case = evidence(low.reference, page, history.trials, history.variance)
    return clean(dict(
        strategies={name: it._asdict() for name, it in named.items()}, symbols=sorted(low.bars), start=iso(page.begin), end=iso(page.end),
        label=case.label, trials=case.trials, objections=case.objections, stats=page.trades, equity=page.equity,
        exposure=dict(time_in_market=page.time_in_market, leverage=page.leverage, turnover=page.turnover),
        costs_r=dict(fees=page.fees_r, slippage=page.slippage_r, funding=page.funding_r),
        groups={by: breakdown(page.records, by) for by in ("strategy", "symbol", "side", "exit", "month")},
        bounds=dict(stop_first=low.equity[-1], target_first=high.equity[-1], expectancy=(page.trades.expectancy, best.trades.expectancy)),
        undefined=undefined(page), **beside(low)))


def printed(low: Any, high: Any, facts: dict[str, Any], trades: bool) -> None:
    "The report for a terminal."
    from rich.table import Table

    from perps_kit.backtest.account_report import account_report
    from perps_kit.backtest.report import table
    from perps_kit.core.clock import iso

    console = terminal()
    console.print(table(account_report(low)), highlight=False, markup=False)
    best = f"with targets first in ambiguous bars {high.equity[-1]:,.2f}"
    console.print(f"{'equity':16} {low.balance:,.2f} -> {low.equity[-1]:,.2f}, {best}\n", highlight=False)
    title = f"{len(low.follows)} published signals"
    rows = Table("answer", "reason", "signals", "made without the account", title=title, title_justify="left")
    for a in facts["answers"]:
        made = "" if a["reference_r"] is None else f"{a['reference_r']:+.2f} R"
        rows.add_row(a["outcome"], a["reason"], str(a["count"]), made)
    console.print(rows)
    if trades:
        columns = ("decided", "strategy", "symbol", "side", "quantity", "entry", "exit", "how", "net")
        listed = Table(*columns, title="trades", title_justify="left")
        for t in low.trades:
            o, c = t.outcome, t.candidate
            ending = ("", "", "cancelled", "") if o is None else (f"{o.entry:g}", f"{o.exit:g}", o.exit_type or "open", f"{o.net:+.2f}")
            quantity = t.ladder.plan.quantity
            listed.add_row(iso(c.time), c.strategy, c.symbol, "long" if t.side > 0 else "short", f"{quantity:g}", *ending)
        console.print(listed)
    console.print(f"{facts['label']} ({facts['trials']} tried)", style="bold yellow" if facts["objections"] else "bold green")
    for line in facts["objections"]:
        console.print(f"- {line}", highlight=False)
