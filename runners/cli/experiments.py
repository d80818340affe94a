"`perps-kit sweep`, `walkforward`, `evaluate`, `compare`, `ledger` and `experiment`: what was tried, and what it proves."

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import gcd
from pathlib import Path
from typing import Annotated, Any

import typer

from runners.cli.research import Data, Json, Moment, Parameters, Strategy, Symbols, candles, chosen, terminal, tracked

Ranges = Annotated[list[str] | None, typer.Option(
    "--param", "-p", help="What varies, as name=a..b:step, name=a..b or name=1,2,3; one value fixes it; several times.")]
Random = Annotated[int | None, typer.Option("--random", min=1, help="So many sets at random in place of the whole grid.")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes here; one for few sets, else one a processor if not given.")]
Scheduler = Annotated[str | None, typer.Option(help="A dask scheduler such as tcp://10.0.0.5:8786, in place of processes here.")]
Resume = Annotated[bool, typer.Option("--resume/--anew", help="Go on where a killed run stopped, or compute everything again.")]
Least = Annotated[int, typer.Option(min=1, help="Trades that a set needs to be ranked or chosen.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write pictures to a file for the browser.")]
Save = Annotated[Path | None, typer.Option("--save", help="Write an experiment file that reproduces this run.")]
FEW = 3e8       # sets times candles for which starting processes does not pay; a tenth of it where gates are asked
BARE = "name what varies, such as --param fast=5..15:2, or draw with --random 100"
MATRIX = 2000   # newest trials whose days are compared


@contextmanager
def one_sentence() -> Iterator[None]:
    "What cannot be used becomes one sentence and exit code 2, a warning one sentence on standard error."
    from perps_kit.backtest.jobs import JobsFailed
    from runners.errors import ConfigError

    def show(message: Any, *_: Any, **__: Any) -> None:
        print(f"perps-kit: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        try: yield
        except (ValueError, OSError, JobsFailed) as wrong: raise ConfigError(str(wrong)) from None


def progress(what: str, shown: bool) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    "Goes through what ends behind a progress bar on standard error."
    from rich.console import Console
    from rich.progress import track

    return lambda ending, total: track(ending, what, total, console=Console(stderr=True), transient=True, disable=not shown)


def wishes(parameters: list[str] | None) -> dict[str, str]:
    "Ranges by name."
    pairs = [text.partition("=") for text in parameters or ()]
    for name, sign, value in pairs:
        if not (name and sign and value): raise ValueError(f"--param {name}: write name=a..b:step, name=a..b or name=1,2,3")
    return {name: value for name, _, value in pairs}


def classed(strategy: str) -> Any:
    "A strategy's class."
    return type(chosen(strategy, None))


def crowd(workers: int | None, sets: int, bars: dict[str, Any], gates: bool) -> int | None:
    "How many processes pay; None: one a processor."
    return workers or (None if sets * sum(map(len, bars.values())) >= FEW / (10 if gates else 1) else 1)


def figures(found: Any, k: int) -> dict[str, Any]:
    "A set's figures."
    from perps_kit.backtest.sweep import FIGURES

    return {name: getattr(found, name)[k].item() for name in FIGURES}


def sweep(
    strategy: Strategy = "ema_scalper",
    data: Data = None,
    symbol: Symbols = None,
    param: Ranges = None,
    random: Random = None,
    optuna: Annotated[int | None, typer.Option("--optuna", min=1, help="So many sets where Optuna expects the best.")] = None,
    by: Annotated[str, typer.Option(help="Rank by this figure: expectancy, total_r, sharpe, profit_factor ...")] = "expectancy",
    least: Least = 50,
    gates: Annotated[bool, typer.Option("--gates", help="Ask all gates of the signal pipeline, as `backtest` does; slower.")] = False,
    top: Annotated[int, typer.Option(min=1, help="Rows of the table.")] = 15,
    seed: Seed = 1,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = True,
    start: Moment = None,
    end: Moment = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    "Try many settings of a strategy: a grid, at random or by Optuna. Every one goes into the ledger of trials."
    from perps_kit.backtest import search as of
    from perps_kit.backtest.ledger import Ledger, tried
    from perps_kit.core.clock import timeframe_of
    from perps_kit.scoring.book import Pipeline
    from runners.listing import clean

    cls, ledger = classed(strategy), Ledger()
    with one_sentence():
        if random and optuna: raise ValueError("--random and --optuna exclude each other: give one of them")
        axes, by = of.axes_of(cls, wishes(param)), of.figure_named(by)
        if not (param or random or optuna): raise ValueError(BARE)
        bars, funding, ticks = candles(data, symbol, timeframe_of(cls.minutes), start, end)
        pipeline, over = Pipeline() if gates else None, progress("sets", not as_json)
        same: dict[str, Any] = dict(funding=funding, ticks=ticks, pipeline=pipeline, seed=seed, ledger=ledger, over=over)
        same["scheduler"] = scheduler
        if optuna: found = of.tune(cls, axes, bars, optuna, by=by, least=least, workers=crowd(workers, of.BATCH, bars, gates), **same)
        else:
            sets = of.drawn(axes, random, seed) if random else of.grid(axes)
            found = of.search(cls, sets, bars, workers=crowd(workers, len(sets), bars, gates), resume=resume, **same)
        order, history = of.ranked(found, by, least), tried(ledger, strategy)
        if html: pictured(found, [a.name for a in axes if len(a.values) != 1], by, least, html)
    rows = [dict(parameters=found.sets[k], enough=bool(found.trades[k] >= least)) | figures(found, k) for k in order]
    if as_json:
        told = dict(strategy=strategy, symbols=sorted(bars), by=by, least=least, tried=len(found), configurations=history.trials, sets=rows)
        typer.echo(json.dumps(clean(told), allow_nan=False))
        return
    console = terminal()
    console.print(best_table(clean(rows[:top]), by))
    said = [f"{len(found)} sets tried on {len(bars)} symbols, {int((found.trades >= least).sum())} with {least} trades or more; "
            f"{history.trials} configurations of {strategy} in the ledger"]
    if not gates: said.append("one position a symbol at a time, gates not asked: add --gates for those")
    if html: said.append(f"pictures in {html}")
    console.print("\n".join(said), style="dim")


def pictured(found: Any, names: list[str], by: str, least: int, path: Path) -> None:
    "The pictures of a search as one page that needs no network."
    from bokeh.embed import file_html
    from bokeh.layouts import column
    from bokeh.resources import INLINE

    from perps_kit.backtest.search import heat, lines

    parts = [lines(found, by, least)] + ([heat(found, *names[:2], by=by, least=least)] if len(names) > 1 else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file_html(column(*parts), INLINE, f"{len(found)} sets"), encoding="utf-8")


SHOWN = dict(trades="d", expectancy="+.3f", total_r="+.1f", profit_factor=".2f", sharpe=".2f", drawdown=".1%")


def best_table(rows: list[dict[str, Any]], by: str) -> Any:
    "The best sets, a line each; those with too few trades dim."
    from runners.listing_tables import columns, number

    names = list(rows[0]["parameters"]) if rows else []
    shown = SHOWN if by in SHOWN else SHOWN | {by: "+.3f"}
    table = columns((), (*names, *(name.replace("_", " ") for name in shown)))
    for row in rows:
        table.add_row(*(f"{row['parameters'][n]:g}" for n in names), *(number(row[n], form) for n, form in shown.items()),
                      style="" if row["enough"] else "dim")
    return table


def walkforward(
    strategy: Strategy = "ema_scalper",
    data: Data = None,
    symbol: Symbols = None,
    param: Ranges = None,
    random: Random = None,
    train: Annotated[float, typer.Option(min=1, help="Days of training.")] = 180,
    test: Annotated[float, typer.Option(min=1, help="Days of a test.")] = 30,
    step: Annotated[float | None, typer.Option(min=1, help="Days from fold to fold; the length of a test if not given.")] = None,
    embargo: Annotated[float, typer.Option(min=0, help="Days between training and test, as long as a position is held.")] = 3,
    least: Least = 50,
    seed: Seed = 1,
    workers: Workers = None,
    scheduler: Scheduler = None,
    resume: Resume = True,
    start: Moment = None,
    end: Moment = None,
    html: Html = None,
    as_json: Json = False,
) -> None:
    "Choose settings on the past, test them on the weeks that follow, and report those tests alone."
    from perps_kit.backtest import search as of
    from perps_kit.backtest.walk_forward import Plan, picture, walk_forward
    from perps_kit.core.clock import timeframe_of
    from runners.listing import clean

    cls = classed(strategy)
    with one_sentence():
        axes = of.axes_of(cls, wishes(param))
        if not (param or random): raise ValueError(BARE)
        sets = of.drawn(axes, random, seed) if random else of.grid(axes)
        bars, funding, ticks = candles(data, symbol, timeframe_of(cls.minutes), start, end)
        plan = Plan(train, test, test if step is None else step, embargo, least)
        run = walk_forward(cls, sets, bars, funding, ticks, plan=plan, seed=seed, workers=crowd(workers, len(sets), bars, True),
                           scheduler=scheduler, over=progress("sets", not as_json), resume=resume)
        if html:
            from bokeh.embed import file_html
            from bokeh.resources import INLINE

            html.write_text(file_html(picture(run), INLINE, f"{strategy}, walk-forward"), encoding="utf-8")
    t, e = run.page.trades, run.page.equity
    facts = clean(dict(
        strategy=strategy, symbols=sorted(bars), sets=len(sets), plan=plan, folds=run.rows, efficiency=run.efficiency,
        overfitting=run.overfitting, stats=t, equity=e, label=run.case.label, trials=run.case.trials, deflated_sharpe=run.case.deflated,
        objections=run.case.objections))
    if as_json:
        typer.echo(json.dumps(facts, allow_nan=False))
        return
    console = terminal()
    for part in fold_tables(facts): console.print(part, "")


def fold_tables(facts: dict[str, Any]) -> list[Any]:
    "A walk-forward run for a terminal."
    from rich.text import Text

    from runners.listing_tables import columns, number, within

    table = columns(("test", "chosen"), ("trained on", "train R", "tested on", "test R", "total R"))
    for row in facts["folds"]:
        said = ", ".join(f"{name} {value:g}" for name, value in (row["chosen"] or {}).items()) or "nothing: too few trades in training"
        table.add_row(row["test"], said, str(row["train_trades"]), number(row["train_expectancy"]), str(row["test_trades"]),
                      number(row["test_expectancy"]), number(row["test_r"], "+.1f"))
    t, lie = facts["stats"], number(facts["overfitting"], ".0%")
    lines = [f"{facts['sets']} sets, {len(facts['folds'])} folds; {t['n']} trades out of sample",
             f"expectancy {number(t['expectancy'], unit=' R')} {within(t['expectancy_interval'], '+.3f')}, "
             f"total {number(t['total_r'], '+.1f')} R, Sharpe {number(facts['equity']['sharpe'], '.2f')}",
             f"walk-forward efficiency {number(facts['efficiency'], '.2f')}, probability of overfitting {lie}"]
    head = Text.assemble((facts["strategy"], "bold"), "  ", (facts["label"], "bold yellow" if facts["objections"] else "bold green"))
    return [head, table, Text("\n".join(lines)), objections(facts)]


def objections(facts: dict[str, Any]) -> Any:
    "What stands against it."
    from rich.text import Text

    n, odds = facts["trials"], facts["deflated_sharpe"]
    said = f"{n} {'configuration' if n == 1 else 'configurations'} tried"
    if odds is not None: said += f"; {odds:.0%} sure that the Sharpe ratio is no luck"
    return Text("\n".join([said, *(f"- {text}" for text in facts["objections"])]))


def judged(facts: dict[str, Any], low: Any, strategies: dict[str, Any], bars: Any, funding: Any, ticks: Any,
           **measured: Any) -> dict[str, Any]:
    "A backtest's facts, its trial noted in the ledger, and held against all that were tried before; `measured`: what `evidence` takes."
    from perps_kit.backtest.evidence import evidence
    from perps_kit.backtest.ledger import Ledger, noted, settings_of, trial_of, tried
    from perps_kit.backtest.report import report
    from runners.listing import clean

    page, book = report(low), Ledger()
    trial = trial_of(page, strategies, bars, funding, settings_of(low.rules, ticks=ticks, symbols=bars))
    noted(book, trial)
    case = evidence(low, page, *tried(book, trial.family), pbo=overfit(book, trial), **measured)
    return facts | clean(dict(label=case.label, trials=case.trials, deflated_sharpe=case.deflated, overfitting=case.overfitting,
                              objections=case.objections))


def overfit(book: Any, trial: Any) -> float | None:
    "Probability of overfitting among the trials of a family on the same candles; None where there is nothing to choose from."
    import numpy as np

    from perps_kit.backtest.ledger import LedgerError
    from perps_kit.backtest.overfitting import overfitting

    try: tried = book.trials(trial.family, trial.data, limit=MATRIX)
    except LedgerError: return None
    columns = [t.daily for t in tried if t.daily is not None and (t.begin, t.end) == (trial.begin, trial.end)]
    return overfitting(np.column_stack(columns)).probability if len(columns) > 1 else None


def saved(path: Path, low: Any, data: Path | None, strategies: dict[str, Any], bars: Any, funding: Any, ticks: Any) -> None:
    "Write the experiment file of a run."
    from perps_kit.backtest.experiment import SAMPLE, experiment, write

    where = SAMPLE if data is None else str(data)
    write(experiment(strategies, bars, funding, ticks, low.rules, run=low, data=where), path)


def evaluate(
    strategy: Strategy = "ema_scalper",
    data: Data = None,
    symbol: Symbols = None,
    param: Parameters = None,
    start: Moment = None,
    end: Moment = None,
    nulls: Annotated[int, typer.Option(min=0, help="Seeds of random entries to compare with; 0: no test against chance.")] = 200,
    calibrate: Annotated[Path | None, typer.Option(help="Write probabilities of a win by score: for the setting `calibration`.")] = None,
    save: Save = None,
    as_json: Json = False,
) -> None:
    "All that can be held against one strategy: its report, chance, and how many were tried. Exit code 1 while it is unproven."
    from perps_kit.backtest.lanes import lanes
    from perps_kit.backtest.nulls import dearer
    from perps_kit.backtest.nulls import nulls as tests
    from perps_kit.backtest.report import report
    from perps_kit.backtest.run import walk
    from perps_kit.core.clock import timeframe_of
    from perps_kit.trackers.plan import TARGET_FIRST, Rules
    from runners import listing

    it = chosen(strategy, param)
    with one_sentence():
        bars, funding, ticks = candles(data, symbol, timeframe_of(it.minutes), start, end)
        found = lanes(it, bars, funding, over=tracked(not as_json))
        chance, rules = None, (Rules(), Rules(policy=TARGET_FIRST), dearer(Rules(), 2.0, 1.0))
        low, high, doubled = (walk(found, rules=r, ticks=ticks) for r in rules)
        if nulls: chance = tests(found, low, ticks=ticks, seeds=nulls)
        facts = judged(listing.report(low, high, it), low, {strategy: it}, bars, funding, ticks, doubled=report(doubled), nulls=chance)
        if save: saved(save, low, data, {strategy: it}, bars, funding, ticks)
        facts["calibration"] = calibrated(low, strategy, calibrate)
    if chance:
        coin = chance.coin
        facts["nulls"] = listing.clean(dict(own=coin.own, random=coin.bar, better=coin.better, flipped=chance.flipped,
                                            delayed=chance.delayed, costly=chance.costly))
    if as_json: typer.echo(json.dumps(facts, allow_nan=False))
    else:
        *parts, verdict = listing.tables(facts)
        more = [null_table(facts["nulls"])] if chance and facts["stats"]["n"] else []
        for part in (*parts, *more, score_table(facts["calibration"]), verdict): terminal().print(part, "")
    raise typer.Exit(0 if facts["label"] == "proven" else 1)


def calibrated(low: Any, strategy: str, path: Path | None) -> dict[str, Any]:
    "How well the score told winners from losers, learned from the earlier trades and tested on the later; kept in a file if wished."
    from perps_kit.backtest.calibration import calibration, fitted, scored
    from runners.listing import clean

    trades = scored(low.trades).get(strategy)
    if trades is None: return dict(trades=0, reason="no trades", bins=[], brier=None, brier_calibrated=None, brier_average=None)
    found = calibration(trades)
    if path:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept | {strategy: fitted(trades.score, trades.won)._asdict()}, indent=1) + "\n", encoding="utf-8")
    return clean(dict(trades=len(trades.score), reason=found.calibrator.reason, bins=[b._asdict() for b in found.raw.bins],
                      brier=found.raw.brier, brier_calibrated=found.tested.brier, brier_average=found.raw.average))


def score_table(facts: dict[str, Any]) -> Any:
    "Scores of the later trades against what happened."
    from rich.console import Group

    from runners.listing_tables import columns, number, within

    figures = (("Brier score", "brier"), ("always saying the mean", "brier_average"), ("calibrated on earlier trades", "brier_calibrated"))
    said = "; ".join(f"{name} {number(facts[key], '.3f')}" for name, key in figures if facts[key] is not None)
    if facts["reason"]: said += f" ({facts['reason']})"
    table = columns((), ("score", "trades", "won"), ("95 %",), title="does the score know?")
    for b in facts["bins"]:
        table.add_row(number(100 * b["forecast"], ".0f"), str(b["n"]), number(b["share"], ".0%"), within(b["interval"], ".0%"))
    return Group(table, said)


def null_table(facts: dict[str, Any]) -> Any:
    "The tests against chance."
    from runners.listing_tables import columns, number

    table = columns(("against chance",), ("R a trade",), ("",))
    said = dict(own="", random="95 % of the random entries with the same exits stay below", flipped="every trade on the other side",
                delayed="entered one bar later", costly="twice the fees and slippage")
    for name, text in said.items(): table.add_row(name, number(facts[name]), text)
    return table


def experiment(
    file: Annotated[Path, typer.Argument(help="An experiment file, as --save writes them.")],
    any_code: Annotated[bool, typer.Option("--any-code", help="Run it although the code has changed.")] = False,
    as_json: Json = False,
) -> None:
    "Reproduce an experiment file. Exit code 1 where the trades are no longer the same."
    from perps_kit.trackers.plan import TARGET_FIRST
    from runners import listing

    with one_sentence():
        it, back, found = reproduced(file, any_code)
        from perps_kit.backtest.run import walk

        high = walk(found, it.pipeline, it.rules._replace(policy=TARGET_FIRST), it.ticks)
        facts = listing.report(back.result, high, next(iter(it.strategies.values())))
        if len(it.strategies) > 1:
            facts |= dict(strategy="+".join(it.strategies), parameters={n: s._asdict() for n, s in it.strategies.items()})
    facts |= dict(file=str(file), note=it.note, same=back.same)
    if as_json: typer.echo(json.dumps(facts, allow_nan=False))
    else:
        console = terminal()
        for part in listing.tables(facts): console.print(part, "")
        same, other, none = "every trade is the one of the file", "the trades are no longer those of the file", "the file holds no result"
        text, style = {True: (same, "bold green"), False: (other, "bold red"), None: (none, "dim")}[back.same]
        console.print(text, style=style)
    raise typer.Exit(1 if back.same is False else 0)


def reproduced(file: Path, any_code: bool) -> tuple[Any, Any, Any]:
    "An experiment file, its run, and the lanes."
    from perps_kit.backtest.experiment import SAMPLE, read, reproduce
    from perps_kit.backtest.lanes import lanes
    from perps_kit.core.clock import timeframe_of

    it = read(file)
    minutes = gcd(*(s.minutes for s in it.strategies.values()))
    data = None if it.data == SAMPLE else Path(it.data)
    bars, funding, _ = candles(data, list(it.symbols), timeframe_of(minutes), it.start or None, it.end or None)
    return it, reproduce(it, bars, funding, any_code), lanes(it.strategies, bars, funding)


def compare(
    a: Annotated[str, typer.Argument(help="A trial's number in the ledger, or an experiment file.")],
    b: Annotated[str, typer.Argument(help="The one to compare it with.")],
    any_code: Annotated[bool, typer.Option("--any-code", help="Run experiments although the code has changed.")] = False,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    "Two runs day by day: how far apart they are, and whether that may be chance."
    from perps_kit.backtest.experiment import compare as paired
    from runners.listing import clean

    with one_sentence(): found = paired(*(run_named(name, any_code) for name in (a, b)), seed=seed)
    facts = clean(dict(a=a, b=b) | found._asdict())
    if as_json:
        typer.echo(json.dumps(facts, allow_nan=False))
        return
    from runners.listing_tables import columns, number, within

    table = columns(("",), (a, b, "difference"), ("",))
    year = [number(None if facts[n] is None else facts[n] * 365, "+.2%") for n in ("mean_a", "mean_b", "difference")]
    ends = {n: None if x is None else x * 365 for n, x in facts["interval"].items()}
    table.add_row("return a year", *year, within(ends, "+.2%"))
    table.add_row("Sharpe", number(facts["sharpe_a"], ".2f"), number(facts["sharpe_b"], ".2f"), "", "")
    console = terminal()
    console.print(table)
    low, high = found.interval
    verdict = "fewer than 30 days in common: nothing can be said" if low != low else (
        f"{a} is better" if low > 0 else f"{b} is better" if high < 0 else "the days do not tell them apart")
    console.print(f"{found.days} days in common; {verdict}" + ("" if low != low else f" ({a} ahead in {found.better:.0%} of the draws)"))


def run_named(name: str, any_code: bool) -> Any:
    "A trial of the ledger by its number, or the report of an experiment file."
    from perps_kit.backtest.ledger import Ledger

    if not name.isdecimal(): return reproduced(Path(name), any_code)[1].page
    ledger = Ledger()
    found = ledger.trials(ids=[int(name)])
    if not found: raise ValueError(f"no trial {name} in the ledger {ledger.url}: `perps-kit ledger` lists them")
    return found[0]


def ledger(
    family: Annotated[str | None, typer.Option(help="Only this strategy, or these, as in ema_scalper+pullback.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 30,
    as_json: Json = False,
) -> None:
    "Every configuration that was tried, and what came of it."
    from perps_kit.backtest.ledger import Ledger
    from perps_kit.core.clock import iso
    from runners.listing import clean

    book = Ledger()
    with one_sentence(): found, count = book.trials(family, limit=limit), book.count(family)
    rows = clean([dict(id=t.id, time=iso(t.time), kind=t.kind, family=t.family, label=t.label, times=t.times, parameters=t.parameters,
                       symbols=t.symbols, start=iso(t.begin), end=iso(t.end), data=t.data, code=t.code, seed=t.seed, metrics=t.metrics)
                  for t in found])
    if as_json:
        typer.echo(json.dumps(rows, allow_nan=False))
        return
    from runners.listing_tables import columns, number

    if not rows:
        terminal().print(f"the ledger {book.url} holds no trial" + (f" of {family}" if family else ""))
        return
    table = columns(("", "when", "kind", "strategies"), ("runs", "trades", "R a trade", "total R", "Sharpe a day"), ("changed",))
    for t, row in zip(found, rows):
        m = row["metrics"]
        table.add_row(str(t.id), row["time"], t.kind, t.family, str(t.times), number(m.get("trades"), ".0f"), number(m.get("expectancy")),
                      number(m.get("total_r"), "+.1f"), number(m.get("sharpe_day"), "+.3f"), unusual(t.parameters))
    console = terminal()
    console.print(table)
    console.print(f"{count} configurations tried" + ("" if count == len(rows) else f", the newest {len(rows)} above"), style="dim")


def unusual(parameters: dict[str, dict[str, Any]]) -> str:
    "The parameters that are not the usual ones."
    from perps_kit.core.registry import strategies
    from perps_kit.core.unit import parameters as known

    if not any(parameters.values()): return "chosen anew in each fold"
    said = []
    for name, given in parameters.items():
        usual = {n: p.default for n, p in known(strategies()[name]).items()} if name in strategies() else {}
        said += [f"{n} {x:g}" if isinstance(x, (int, float)) else f"{n} {x}" for n, x in given.items() if usual.get(n) != x]
    return ", ".join(said)
