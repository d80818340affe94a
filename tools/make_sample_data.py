"""Write sample_data/ from the seeded synthetic market: the same bits on every run.

    python tools/make_sample_data.py [--out sample_data]
"""

import argparse
import json
from pathlib import Path

from perps_kit.core.bar import Bars
from perps_kit.core.clock import iso, timeframe_of
from perps_kit.data.files import folder_of, funding_table, part_names, table_of, write_table
from perps_kit.data.sample import VENUE
from perps_kit.data.synthetic import COINS, DAYS, END, MINUTE_DAYS, SEED, Listing, synthetic_market

LABEL = "SYNTHETIC: made by tools/make_sample_data.py, seed {seed}; never traded anywhere"

README = """# Sample data: synthetic

Made by `tools/make_sample_data.py` (seed {seed}); nothing in here was ever traded. The names are those of real contracts so that every part
of the system accepts them; the prices are not theirs. What the market is made of, and how it compares with recorded candles, stands in
`nbs/10_data/15_synthetic.ipynb`.

| what | where | span |
|---|---|---|
| 15m candles | `venue={venue}/symbol=*/timeframe=15m/` | {days} days, to {end} UTC |
| 1m candles | `venue={venue}/symbol=*/timeframe=1m/` | the last {minute_days} days; they add up to the 15m candles exactly |
| funding with mark prices | `venue={venue}/symbol=*/funding/` | every eight hours |
| sector, tick, step, minima | `symbols.json` | |

It is a candle store: `perps-kit data ls --store sample_data` lists it, `perps_kit.data.sample` reads it in notebooks.

Symbols: {symbols}.
"""


def write_series(out: Path, bars: Bars, label: str) -> None:
    "The parts of one series of candles."
    folder, parts = folder_of(out, VENUE, bars.symbol, timeframe_of(bars.minutes)), part_names(bars.open_time, bars.minutes)
    for part in dict.fromkeys(parts.tolist()):
        write_table(table_of(bars[parts == part], venue=VENUE, label=label), folder / f"{part}.parquet")


def write_listing(out: Path, listing: Listing, label: str) -> None:
    "Candles and funding of one coin."
    for bars in (listing.bars, listing.minutes): write_series(out, bars, label)
    parts = part_names(listing.funding.time, 480)
    for part in dict.fromkeys(parts.tolist()):
        write_table(funding_table(listing.funding[parts == part], venue=VENUE, label=label),
                    folder_of(out, VENUE, listing.coin.symbol, "funding") / f"{part}.parquet")


def write_sample(out: Path, symbols: tuple[str, ...] = (), seed: int = SEED) -> None:
    "The whole sample, or a few symbols of it."
    label = LABEL.format(seed=seed)
    for listing in synthetic_market(symbols, seed).values(): write_listing(out, listing, label)
    rules = [dict(symbol=c.symbol, sector=c.sector, tick=c.tick, step=c.step, min_qty=c.step, min_notional=100.0 if c.symbol == "BTCUSDT"
                  else 20.0 if c.symbol == "ETHUSDT" else 5.0) for c in COINS]
    (out / "symbols.json").write_text(json.dumps(dict(label=label, venue=VENUE, symbols=rules), indent=1) + "\n", encoding="utf-8")
    facts = dict(seed=seed, venue=VENUE, days=DAYS, minute_days=MINUTE_DAYS, end=iso(END), symbols=", ".join(c.symbol for c in COINS))
    (out / "README.md").write_text(README.format(**facts), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "sample_data")
    write_sample(parser.parse_args().out)
