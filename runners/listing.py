"What `perps-kit units` and `perps-kit backtest` show: rows and facts for machines; `runners.listing_tables` draws them for people."

from difflib import get_close_matches
from math import isfinite, nan
from typing import Any

from perps_kit.core.clock import iso

GROUPS = ("side", "exit", "symbol", "session")


def listed(kind: str | None = None) -> list[dict[str, Any]]:
    "Every registered unit and strategy, or those of one kind; ConfigError for a kind that does not exist."
    from perps_kit.core.registry import entries
    from runners.errors import ConfigError

    kinds = list(dict.fromkeys(e.kind for e in entries()))
    if kind is not None and kind not in kinds:
        near = get_close_matches(kind, kinds, 1, 0.5)
        raise ConfigError(f"--kind {kind}: " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"))
    return [
        dict(kind=e.kind, name=e.name, warmup=warmup(e.cls), module=e.module, notebook=e.notebook, summary=e.summary)
        for e in entries()
        if kind in (None, e.kind)
    ]


def strategy_rows() -> list[dict[str, Any]]:
    "Strategies and scorers with what one asks first: timeframe, exits, warm-up, tags."
    from perps_kit.core.registry import entries
    from perps_kit.core.signal import trait

    rows = []
    for e in entries():
        if e.kind in ("strategy", "flow", "scorer"):
            least = trait(e.cls, "minimum")
            feeds = {"scorer": "facts from elsewhere", "flow": "book and trades"}
            state = feeds.get(e.kind, "candles") if trait(e.cls, "enabled") else "off by itself"
            rows.append(dict(name=e.name, minutes=getattr(e.cls, "minutes", None), modes=[m for m in trait(e.cls, "modes") if m],
                             runs_on=state,
                             family=trait(e.cls,
                                          "family"), filters=list(trait(e.cls, "filters")), minimum=least, tags=list(trait(e.cls, "tags")),
                             warmup=warmup(e.cls), notebook=e.notebook, summary=e.summary))
    return rows


def described(name: str) -> dict[str, Any]:
    "Parameters with their ranges, what feeds it and what it gives, for one unit or strategy; ConfigError for an unknown name."
    from perps_kit.core.registry import entries, wiring
    from perps_kit.core.unit import output_fields, parameters
    from runners.errors import ConfigError

    known = {e.name: e for e in entries()}
    if name not in known:
        near = get_close_matches(name, known, 1, 0.5)
        raise ConfigError(f"no unit is called {name}: " + (f"did you mean {near[0]}?" if near else "`perps-kit units` lists them"))
    e = known[name]
    decides, steps = hasattr(e.cls, "decide"), hasattr(e.cls, "update")
    fed = e.cls().features() if decides and warmup(e.cls) is not None else wiring(e.cls) if steps and not decides else None
    return dict(
        kind=e.kind,
        name=e.name,
        summary=e.summary,
        call=f"{e.cls.__name__}{'.of' if hasattr(e.cls, 'of') else ''}(...)",
        module=e.module,
        notebook=e.notebook,
        series=getattr(e.cls, "series", None),
        warmup=warmup(e.cls),
        parameters=[
            dict(name=p.name, type=p.type.__name__, default=p.default if isinstance(p.default, (int, float, str)) else None,
                 low=p.span.low if p.span else None, high=p.span.high if p.span else None)
            for p in parameters(e.cls).values()
        ],
        inputs=None if fed is None else {
            label: dict(unit=type(f.unit).__name__, inputs=list(f.inputs), minutes=f.minutes) for label, f in fed.items()
        },
        outputs=[field or "a number" for field in output_fields(e.cls)] if steps and not decides else [],
    )


def warmup(cls: type) -> int | None:
    "Bars until the default instance of a unit or strategy speaks; None where there is no default or no warm-up."
    from perps_kit.core.unit import make

    try:
        unit = make(cls)
    except (TypeError, ValueError):
        return None  # it has no default parameters
    return speaks(unit) if hasattr(unit, "features") else unit.warmup() if hasattr(unit, "warmup") else None


def speaks(strategy: Any) -> int:
    "The number of the bar at whose close a strategy can first say something."
    from perps_kit.core.features import plan_of

    return plan_of({"it": strategy}, strategy.minutes).warmup("it")


def report(low: Any, high: Any, strategy: Any, trials: int = 1) -> dict[str, Any]:
    "The facts of a backtest in both readings of ambiguous bars, as strict JSON: None where a figure is undefined, the reason beside it."
    from perps_kit.backtest import report as of
    from perps_kit.backtest.evidence import evidence, undefined
    from perps_kit.core.signal import name_of

    page, both, first = of.report(low), of.bounds(low, high), speaks(strategy)
    case = evidence(low, page, trials)
    won = sum(r.outcome.gross_r for r in page.records if r.outcome.gross_r > 0)
    taken = sum(r.in_r(r.outcome.fees + r.outcome.slippage - r.outcome.funding) for r in page.records)
    figures = {name: value for name, value in both._asdict().items() if isinstance(value, tuple)}
    facts = dict(
        strategy=name_of(type(strategy)),
        parameters=strategy._asdict(),
        symbols=sorted(low.bars),
        start=iso(page.begin),
        end=iso(page.end),
        warmup=first,
        too_short={symbol: len(bars) for symbol, bars in sorted(low.bars.items()) if len(bars) < first},
        basis=dict(capital=page.capital, risk_fraction=page.risk, compounding=False),
        label=case.label,
        trials=case.trials,
        objections=case.objections,
        deflated_sharpe=case.deflated,
        stats=page.trades,
        cancelled=page.cancelled,
        cut_off=page.marked,
        equity=page.equity,
        exposure=dict(time_in_market=page.time_in_market, leverage=page.leverage, turnover=page.turnover),
        costs_r=dict(fees=page.fees_r, slippage=page.slippage_r, funding=page.funding_r, share_of_gross_gains=taken / won if won else nan),
        excursions_r=dict(quantiles=[0.05, 0.25, 0.5, 0.75, 0.95]) | of.excursions(page.records),
        groups={by: of.breakdown(page.records, by) for by in GROUPS},
        bounds=dict(
            stop_first={name: value[0] for name, value in figures.items()},
            target_first={name: value[1] for name, value in figures.items()},
            ambiguous=both.ambiguous,
        ),
        unpaid_funding=low.unpaid,
        undefined=undefined(page),
        decisions=len(low.decisions),
    )
    return clean(facts)


def clean(x: Any) -> Any:
    "The same for strict JSON: nan is None, infinity a word."
    if isinstance(x, float):
        return x if isfinite(x) else None if x != x else "inf" if x > 0 else "-inf"
    x = x._asdict() if hasattr(x, "_asdict") else x
    if isinstance(x, dict):
        return {k: clean(v) for k, v in x.items()}
    return [clean(v) for v in x] if isinstance(x, (list, tuple)) else x


LIVED = ("entry", "exit", "exit_type", "result", "marked", "bars", "gross_r", "net_r", "net_percent", "mfe_r", "mae_r")


def trade_rows(result: Any) -> list[dict[str, Any]]:
    "A row for each published signal, in the order of time."
    rows = []
    for t in result.trades:
        signal, o = t.candidate.signal, t.outcome
        row = dict(id=t.id, symbol=t.symbol, side="long" if signal.side > 0 else "short", decided=iso(t.candidate.time))
        row |= dict(reference=signal.entry, stop=signal.stop, score=t.final, warm=t.candidate.warm)
        ending = dict(exit_type="CANCELLED")
        if o:
            ending = dict(entered=iso(o.entry_time), left=iso(o.exit_time)) | {name: getattr(o, name) for name in LIVED}
        rows.append(clean(row | ending))
    return rows


def tables(report: dict[str, Any], trades: list[dict[str, Any]] | None = None) -> list[Any]:
    "The report for a terminal, with every trade if they are given."
    from runners import listing_tables as draw

    parts = [draw.head(report), draw.figures(report)]
    if report["stats"]["n"]:
        parts += [draw.both(report), draw.groups(report)]
    if trades:
        parts.append(draw.trades(trades))
    return [*parts, draw.verdict(report)]
