"What a re-fit reads and proposes: parameters chosen by walk-forward, with the case for and against them. It applies nothing."

import json
from typing import Any, NamedTuple

import numpy as np

from perps_kit.backtest.ledger import Ledger, data_hash, simple
from perps_kit.backtest.search import Shared, axes_of, drawn, grid, path_of
from perps_kit.backtest.splits import Fold, fold_of, training
from perps_kit.backtest.walk_forward import Lives, Pick, Plan, WalkForward, lived_of, lives, part, walk_forward
from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, iso
from perps_kit.core.registry import strategies
from perps_kit.core.unit import make
from perps_kit.scoring.book import Pipeline
from perps_kit.trackers.plan import Rules
from runners.errors import ConfigError
from runners.jobs.market import Market

PROPOSAL, KEEP = "proposal", "keep"
PAPER = "days on paper"  # the objection that no re-fit can answer: it is what a proposal is for


def class_of(name: str) -> type:
    "The class of a strategy by its name."
    known = strategies()
    if name not in known:
        raise ConfigError(f"unknown strategy {name!r}: there are {', '.join(known)}")
    return known[name]


def sets_of(cls: type, vary: str, most: int, seed: int, current: dict[str, Any]) -> list[dict[str, Any]]:
    "The sets to try, the current one first; `vary`: `fast=5..15:2 surge=0.8,1.2` with the rest as it is now, or empty for all."
    try:
        fixed = make(cls, **current)._asdict()
        bare = [text for text in vary.split() if "=" not in text]
        if bare:
            raise ValueError(f"write name=a..b:step, name=a..b or name=1,2,3, not {bare[0]!r}")
        wishes = dict(text.split("=", 1) for text in vary.split())
        axes = axes_of(cls, wishes)
        if wishes:
            axes = [a for a in axes if a.name in wishes]
            whole = np.prod([len(a.values) for a in axes], dtype=float)
            tried = grid(axes) if whole <= most else drawn(axes, most, seed)
        else:
            tried = drawn(axes, most, seed)
        first = {name: simple(fixed[name]) for name in fixed}
        return [first, *(s for s in ({**first, **one} for one in tried) if s != first)]
    except ValueError as wrong:
        raise ConfigError(f"vary: {wrong}" if vary else str(wrong)) from None


class Refit(NamedTuple):
    "A walk-forward run and what follows from it."

    run: WalkForward
    sets: list[dict[str, Any]]
    latest: Pick  # chosen on the newest training span; nothing has been tested on it
    incumbent: Pick  # the current set over the same tests
    verdict: str
    why: list[str]  # against it; for a proposal, what is still to be done

    @property
    def proposed(self) -> dict[str, Any]:
        "What differs from the current set, old and new."
        return {} if self.latest.set < 0 else changed(self.sets[0], self.sets[self.latest.set])


def changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in new.items() if old.get(name) != value}


def refit(
    strategy: str,
    market: Market,
    sets: list[dict[str, Any]],
    plan: Plan,
    seed: int = 1,
    ledger: Ledger | None = None,
    pipeline: Pipeline = Pipeline(),
) -> Refit:
    "Walk forward over the sets; the first is the current one."
    cls = class_of(strategy)
    try:
        run = walk_forward(cls, sets, market.bars, market.funding, market.ticks, pipeline=pipeline, plan=plan, seed=seed, ledger=ledger)
    except ValueError as wrong:
        raise ConfigError(str(wrong)) from None
    latest, incumbent = newest(cls, sets, market, plan, pipeline), held(cls, sets[0], market, run, pipeline)
    verdict, why = decide(run, latest, incumbent)
    return Refit(run, sets, latest, incumbent, verdict, why)


def lived(cls: type, sets: list[dict[str, Any]], bars: dict[str, Bars], market: Market, pipeline: Pipeline) -> list[Lives]:
    "The trades of some sets, as the walk-forward lives them."
    shared = Shared(bars, market.funding, market.ticks, Rules(), pipeline)
    return [lived_of(one) for one in lives(shared, dict(strategy=path_of(cls), sets=sets))]


def newest(cls: type, sets: list[dict[str, Any]], market: Market, plan: Plan, pipeline: Pipeline) -> Pick:
    "The choice on the newest `train` days, of what has ended by then."
    end = max(int(b.close_time[-1]) for b in market.bars.values())
    fold = Fold(end - round(plan.train * DAY), end, end, end)
    parts = [part(one.r[training(fold, one.entry, one.exit)]) for one in lived(cls, sets, market.bars, market, pipeline)]
    fit = [k for k, p in enumerate(parts) if p.trades >= max(1, plan.least)]
    best = max(fit, key=lambda k: (parts[k].expectancy, -k)) if fit else -1
    return Pick(fold, best, parts[best] if fit else part(np.empty(0)), part(np.empty(0)))


def held(cls: type, current: dict[str, Any], market: Market, run: WalkForward, pipeline: Pipeline) -> Pick:
    "What the current set made in the same tests."
    folds = [p.fold for p in run.picks]
    [one] = lived(cls, [current], market.bars, market, pipeline)
    return Pick(folds[0], 0, part(np.empty(0)), part(one.r[fold_of(folds, one.entry) >= 0]))


def decide(run: WalkForward, latest: Pick, incumbent: Pick) -> tuple[str, list[str]]:
    "Proposal or keep, and why; whatever proves nothing is kept."
    against = [text for text in run.case.objections if PAPER not in text]
    made, now = run.page.trades.expectancy, incumbent.test.expectancy
    if latest.set < 0:
        against.insert(0, f"no set has {run.plan.least} trades in the newest {run.plan.train:g} days")
    elif latest.set == 0:
        against.insert(0, "the newest training span chooses the current parameters again")
    if now == now and not made > now:
        against.append(f"the choices made {made:+.3f} R a trade in the tests, the current parameters {now:+.3f}")
    if against:
        return KEEP, against
    return PROPOSAL, [text for text in run.case.objections if PAPER in text]


def facts(strategy: str, done: Refit, market: Market) -> dict[str, Any]:
    "The proposal as plain values, nan as null."
    run, t = done.run, done.run.page.trades
    begin, end = min(int(b.open_time[0]) for b in market.bars.values()), max(int(b.close_time[-1]) for b in market.bars.values())
    out = dict(
        trades=t.n,
        expectancy=t.expectancy,
        expectancy_interval=list(t.expectancy_interval),
        win_rate=t.win_rate,
        total_r=t.total_r,
        current_trades=done.incumbent.test.trades,
        current_expectancy=done.incumbent.test.expectancy,
    )
    evidence = dict(
        label=run.case.label,
        out_of_sample=out,
        deflated_sharpe=run.case.deflated,
        trials=run.case.trials,
        sets=len(done.sets),
        probability_of_overfitting=run.overfitting,
        efficiency=run.efficiency,
        objections=list(run.case.objections),
        folds=run.rows,
    )
    data = dict(symbols=sorted(market.bars), begin=iso(begin), end=iso(end), hash=data_hash(market.bars, market.funding))
    return known(
        dict(
            verdict=done.verdict,
            strategy=strategy,
            applied=False,
            current=done.sets[0],
            proposed=done.proposed,
            why=done.why,
            evidence=evidence,
            plan=run.plan._asdict(),
            data=data,
        )
    )


def known(x: Any) -> Any:
    "The same with None for what is no finite number."
    if isinstance(x, dict):
        return {name: known(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [known(value) for value in x]
    plain = x.item() if hasattr(x, "item") else x
    return None if isinstance(plain, float) and plain - plain != 0 else plain


def written(told: dict[str, Any]) -> str:
    "The proposal as YAML, with the way to apply it by hand."
    import yaml

    head = [
        "# Nothing has been applied. A person applies it by writing the parameters below `strategies:` of the settings,",
        "# first with `mode: paper`.",
    ]
    return "\n".join(head) + "\n" + yaml.safe_dump(json.loads(json.dumps(told)), sort_keys=False, allow_unicode=True)
