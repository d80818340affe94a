"""Draws a thumbnail of every indicator into nbs/20_indicators/thumbnails/, by the unit itself, over the sample or seeded rows.

tools/thumbnails.py            write them
tools/thumbnails.py check      say which are missing or not what the units draw now; exit code 1 if any
"""
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from perps_kit.core.features import Feature, on
from perps_kit.core.registry import units, wiring
from perps_kit.core.stream import fresh
from perps_kit.core.unit import fold, make, output_fields
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.indicators.counts import Count, Since
from perps_kit.indicators.excursion import Excursion
from perps_kit.indicators.ranks import Rank
from perps_kit.indicators.swings import Swings
from perps_kit.indicators.zscore import ZScore
from perps_kit.research.thumbnail import Drawn, thumbnail

FOLDER = Path(__file__).resolve().parent.parent / "nbs" / "20_indicators" / "thumbnails"
SYMBOL, WARM, SHOWN, PAST = "SOLUSDT", 8980, 120, 400


class Choice(NamedTuple):
    "What to draw of a unit: fields of its output ('' for a plain number), and the field of its events."
    lines: tuple[str, ...] = ()
    events: str = ""
    over: bool = False


def strip(*lines: str, events: str = "") -> Choice: return Choice(lines, events)


def price(*lines: str, events: str = "") -> Choice: return Choice(lines, events, True)


CHOICES = dict(
    adx=strip("adx", "plus", "minus"), anchored_vwap=price("vwap"), bollinger=price("mid", "upper", "lower"),
    book_imbalance=strip("obi", "smooth"), cvd=strip("cvd"), divergence=strip("state", events="event"), donchian=price("upper", "lower"),
    excursion=strip("mfe", "mae"),
    fair_value_gap=price("below_top", "above_bottom", events="event"), fan=price("ema5", "ema13", "ema21"), fear_greed=strip("value"),
    funding_rate=strip("eight"), long_short_ratio=strip("share"), macd=strip("macd", "signal"), open_interest=strip("day"),
    order_block=price("below_top", "above_bottom", events="event"), patterns=price(events="engulfing"),
    rolling_profile=price("poc", "vah", "val"), session_profile=price("poc", "vah", "val"), structure=price("high", "low", events="code"),
    sweep=price("above", "below", events="event"), swings=price("high", "low", events="kind"), trade_flow=strip("flow"),
    volume_spike=strip("ratio", events="spike"), vwap=price("vwap", "upper", "lower"), zones=price("resistance", "support"),
    zones_at=strip("support_strength", "resistance_strength"))
CHOICES |= {name: price("") for name in ("sma", "ema", "rma", "lag", "highest", "lowest", "median")}

SWUNG = dict(swings=on(Swings.of(5)))
FED: dict[str, dict[str, Feature]] = dict(
    count=SWUNG | dict(count=on(Count.of(30), "swings.kind")), since=SWUNG | dict(since=on(Since.of(), "swings.kind")),
    rank=dict(rank=on(Rank.of(120), "volume")), z_score=dict(z_score=on(ZScore.of(20), "volume")))


def waves(seed: int, level: float, spread: float) -> np.ndarray:
    "A seeded series that wanders about a level, for units whose rows the sample does not have."
    x, rng = np.zeros(PAST + SHOWN), np.random.default_rng(seed)
    for i in range(1, len(x)): x[i] = 0.94 * x[i - 1] + rng.normal(0.0, 0.35)
    return level + spread * x


def rows_of(name: str) -> list[tuple]:
    "Rows for the units that candles do not feed."
    a, b, k = waves(1, 1.0, 0.3), waves(2, 1.0, 0.3), range(PAST + SHOWN)
    made: dict[str, Callable[[], list[tuple]]] = dict(
        book_imbalance=lambda: [(99.9, 100.1, abs(x), abs(y), 50.0) for x, y in zip(a.tolist(), b.tolist())],
        trade_flow=lambda: [(1.7e12 + 3000.0 * i, 100.0, abs(x), float(y > 1.0)) for i, x, y in zip(k, a.tolist(), b.tolist())],
        trade_cvd=lambda: [(abs(x), float(y > 1.0)) for x, y in zip(a.tolist(), b.tolist())],
        funding_rate=lambda: [(rate, 8.0) for rate in sample_funding(SYMBOL).rate.tolist()],
        open_interest=lambda: [(3.6e6 * i, x) for i, x in zip(k, (1e5 * np.exp(0.1 * a)).tolist())],
        long_short_ratio=lambda: [(x,) for x in np.exp(0.8 * a).tolist()],
        excursion=lambda: [(bar,) for bar in sample_bars(SYMBOL)[WARM:WARM + SHOWN]],
        fear_greed=lambda: [(x,) for x in np.clip(np.round(waves(3, 50.0, 22.0)), 0, 100).tolist()])
    return made[name]()


def trade() -> Excursion:
    "A short from the first candle that is shown."
    first = sample_bars(SYMBOL)[WARM]
    return Excursion.of(-1, first.open, 0.02 * first.open)


def seen(name: str, cls: type) -> Any:
    "The unit's output over what is shown, as arrays."
    features = FED.get(name) or wiring(cls)
    if features:
        outputs = look(sample_bars(SYMBOL)[:WARM + SHOWN], compiled=False, **features)[-1]
        return type(outputs)(*(y[WARM:] for y in outputs)) if isinstance(outputs, tuple) else outputs[WARM:]
    outputs = np.array(fold(trade() if cls is Excursion else fresh(make(cls)), rows_of(name))[1], float)[-SHOWN:]
    kind = output_fields(cls)
    return outputs if kind == ("",) else dict(zip(kind, outputs.T))


def drawn(name: str, cls: type) -> Drawn:
    "What the choice for a unit names, by default its first output in a strip."
    outputs, choice = seen(name, cls), CHOICES.get(name, Choice(output_fields(cls)[:1]))

    def column(field: str) -> np.ndarray:
        return outputs[field] if isinstance(outputs, dict) else getattr(outputs, field) if field else outputs
    return Drawn(tuple(map(column, choice.lines)), column(choice.events) if choice.events else None, choice.over)


def pictures() -> dict[Path, str]:
    "Files and what they should hold."
    bars = sample_bars(SYMBOL)[WARM:WARM + SHOWN]
    return {FOLDER / f"{e.name}.svg": thumbnail(bars, drawn(e.name, e.cls), e.name) for e in units() if e.kind == "indicator"}


def main(words: list[str]) -> int:
    made = pictures()
    if words == ["check"]:
        stale = [path.name for path, text in made.items() if not path.exists() or path.read_text() != text]
        stale += [path.name for path in FOLDER.glob("*.svg") if path not in made]
        for name in stale: print(f"{name}: not what the unit draws now; run tools/thumbnails.py")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.svg"): path.unlink()
    for path, text in made.items(): path.write_text(text)
    print(f"{len(made)} thumbnails in {FOLDER.name}/")
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
