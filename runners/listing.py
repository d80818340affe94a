"What `perps-kit units` and `perps-kit backtest` show: rows and facts for machines, tables for people."

from math import isfinite
from typing import Any

from perps_kit.core.clock import iso


def listed(kind: str | None = None) -> list[dict[str, Any]]:
    "Every registered unit and strategy, or those of one kind; ConfigError for a kind that does not exist."
    from perps_kit.core.registry import entries
    from runners.errors import ConfigError

    kinds = list(dict.fromkeys(e.kind for e in entries()))
    if kind is not None and kind not in kinds:
        from difflib import get_close_matches

        near = get_close_matches(kind, kinds, 1, 0.5)
        raise ConfigError(f"--kind {kind}: " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"))
    return [dict(kind=e.kind, name=e.name, warmup=warmup(e.cls), module=e.module, notebook=e.notebook, summary=e.summary) for e in entries() if kind in (None, e.kind)]


def warmup(cls: type) -> int | None:
    "Bars until the default instance of a unit or strategy speaks; None where there is no default or no warm-up."
    from perps_kit.core.features import plan_of
    from perps_kit.core.unit import make

    try:
        unit = make(cls)
    except (TypeError, ValueError):
        return None     # it has no default parameters
    if hasattr(unit, "features"):
        return plan_of({"it": unit}, unit.minutes).warmup("it")
    return unit.warmup() if hasattr(unit, "warmup") else None


def report(low: Any, high: Any, strategy: Any, trials: int = 1) -> dict[str, Any]:
    "The facts of a backtest in both readings of ambiguous bars, ready for JSON: what is not a number is None, with its reason under `undefined`."
    from perps_kit.backtest import report as of
    from perps_kit.backtest.evidence import evidence, undefined
    from perps_kit.core.signal import name_of

    page, both, groups = of.report(low), of.bounds(low, high), {by: of.breakdown(of.report(low).records, by) for by in ("side", "exit", "symbol", "session")}
    case, won = evidence(low, page, trials), sum(r.outcome.gross_r for r in page.records if r.outcome.gross_r > 0)
    costs = dict(fees=page.fees_r, slippage=page.slippage_r, funding=page.funding_r, share_of_gross_gains=share(page, won))
    facts = dict(
        strategy=name_of(type(strategy)), parameters=strategy._asdict(), symbols=sorted(low.bars), start=iso(page.begin), end=iso(page.end),
        basis=dict(capital=page.capital, risk_fraction=page.risk, compounding=False), label=case.label, trials=case.trials, objections=case.objections,
        deflated_sharpe=case.deflated, trades=page.trades, cancelled=page.cancelled, cut_off=page.marked, equity=page.equity,
        exposure=dict(time_in_market=page.time_in_market, leverage=page.leverage, turnover=page.turnover), costs_r=costs, groups=groups,
        bounds=dict(stop_first={k: v[0] for k, v in pairs(both)}, target_first={k: v[1] for k, v in pairs(both)}, ambiguous=both.ambiguous),
        unpaid_funding=low.unpaid, undefined=undefined(page), decisions=len(low.decisions))
    return clean(facts)


def pairs(both: Any) -> list[tuple[str, tuple[float, float]]]:
    "The figures that have a pessimistic and an optimistic value."
    return [(name, value) for name, value in both._asdict().items() if isinstance(value, tuple)]


def share(page: Any, won: float) -> float:
    "The part of all gross gains that costs took; nan without a gain."
    taken = (page.fees_r + page.slippage_r - page.funding_r) * page.trades.n if page.records else 0.0
    return taken / won if won > 0 else float("nan")


def clean(x: Any) -> Any:
    "The same for strict JSON: nan is None, infinity a word."
    if isinstance(x, float):
        return x if isfinite(x) else None if x != x else "inf" if x > 0 else "-inf"
    if hasattr(x, "_asdict"):
        x = x._asdict()
    if isinstance(x, dict):
        return {k: clean(v) for k, v in x.items()}
    return [clean(v) for v in x] if isinstance(x, (list, tuple)) else x


def trade_rows(result: Any) -> list[dict[str, Any]]:
    "One row a published signal, in the order of time."
    rows = []
    for t in result.trades:
        s, o = t.candidate.signal, t.outcome
        row = dict(id=t.id, symbol=t.symbol, side="long" if s.side > 0 else "short", decided=iso(t.candidate.time), reference=s.entry, stop=s.stop, score=t.final, warm=t.candidate.warm)
        entered = ("entry", "exit", "exit_type", "result", "marked", "bars", "gross_r", "net_r", "net_percent", "mfe_r", "mae_r")
        times = dict(entered=iso(o.entry_time), left=iso(o.exit_time)) if o else {}
        rows.append(clean(row | times | ({k: getattr(o, k) for k in entered} if o else dict(exit_type="CANCELLED"))))
    return rows


def tables(report: dict[str, Any], trades: list[dict[str, Any]] | None = None) -> list[Any]:
    "The report for a terminal."
    from runners import listing_tables as draw

    return [draw.head(report), draw.figures(report), draw.both(report), *draw.groups(report), *([draw.trades(trades)] if trades is not None else []), draw.verdict(report)]
