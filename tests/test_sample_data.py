"The sample is what its generator makes, agrees with itself, looks like a market and says that it is none."
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, parse_time
from perps_kit.core.resample import Resample
from perps_kit.core.unit import fold
from perps_kit.data.funding import missing_settlements, settlements
from perps_kit.data.sample import sample_bars, sample_funding, sample_markets, sample_root, sample_symbols
from perps_kit.data.series import check
from perps_kit.data.synthetic import COINS, END, synthetic_market
from perps_kit.storage.candles import same

SYMBOLS = [coin.symbol for coin in COINS]


def test_the_committed_sample_is_what_the_generator_makes(tmp_path: Path) -> None:
    from make_sample_data import write_sample
    made = synthetic_market(("ARBUSDT",))["ARBUSDT"]
    assert same(made.bars, sample_bars("ARBUSDT")) and same(made.minutes, sample_bars("ARBUSDT", "1m"))
    held = sample_funding("ARBUSDT")
    assert all(np.array_equal(getattr(made.funding, name), getattr(held, name)) for name in ("time", "rate", "mark"))
    write_sample(tmp_path, ("ARBUSDT",))
    for name in ("README.md", "symbols.json"): assert (tmp_path / name).read_text() == (sample_root() / name).read_text()
    parts = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.parquet"))
    assert parts == sorted(p.relative_to(sample_root()) for p in sample_root().rglob("*.parquet") if "ARBUSDT" in str(p))


def test_span_size_and_label() -> None:
    assert len(SYMBOLS) >= 8 and len({coin.sector for coin in COINS}) >= 7 and sample_symbols() == SYMBOLS
    files = list(sample_root().rglob("*.*"))
    assert sum(p.stat().st_size for p in files) < 12e6
    for path in files:
        if path.suffix == ".parquet": assert b"SYNTHETIC" in pq.read_metadata(path).metadata[b"label"]
    assert "synthetic" in (sample_root() / "README.md").read_text().lower()
    assert "SYNTHETIC" in json.loads((sample_root() / "symbols.json").read_text())["label"]
    assert parse_time("2026-10-31") == END


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_series_is_sound_and_on_the_exchanges_grid(symbol: str) -> None:
    market = sample_markets()[symbol]
    for timeframe, rows in (("15m", 200 * 96), ("1m", 3 * 1440)):
        bars = sample_bars(symbol, timeframe)
        assert check(bars).ok and check(bars).missing == 0 and len(bars) == rows and bars.close_time[-1] == END
        for values, unit in ((bars.open, market.tick), (bars.high, market.tick), (bars.low, market.tick), (bars.close, market.tick),
                             (bars.volume, market.step)):
            scale = round(1 / unit)
            assert np.array_equal(np.rint(values * scale) / scale, values), "a decimal of the grid, to the last bit"
        vwap = bars.quote_volume / bars.volume
        assert ((vwap > bars.low * 0.99) & (vwap < bars.high * 1.01)).all() and (bars.trades >= 1).all()
    funding = sample_funding(symbol)
    assert len(missing_settlements(funding, END - 200 * DAY, END)) == 0 and not np.isnan(funding.mark).any()
    paid = settlements(sample_bars(symbol), funding)
    assert np.count_nonzero(paid.at_open) == np.count_nonzero(funding.rate) and not paid.inside.any() and not paid.missing.any()


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_minutes_add_up_to_the_quarters_bit_by_bit(symbol: str) -> None:
    _, out = fold(Resample(15, 1), list(sample_bars(symbol, "1m")))
    made = Bars.of(symbol, 15, [bar for bar in out if bar.open_time >= 0])
    assert same(made, sample_bars(symbol, "15m", start=END - 3 * DAY))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_it_moves_like_a_market(symbol: str) -> None:
    bars, lead = sample_bars(symbol), sample_bars("BTCUSDT")
    r, r_lead = np.diff(np.log(bars.close)), np.diff(np.log(lead.close))
    a = np.abs(r)

    def acf(k: int) -> float: return float(np.corrcoef(a[:-k], a[k:])[0, 1])

    low, high = (0.0025, 0.0035) if symbol == "BTCUSDT" else (1.2 * r_lead.std(), 2.1 * r_lead.std())
    assert low < r.std() < high
    assert 9 < (((r - r.mean()) / r.std()) ** 4).mean() < 60, "fat tails"
    assert acf(1) > 0.2 and acf(10) > 0.1 and acf(96) > 0.08, "volatility clusters"
    assert np.corrcoef(r, r_lead)[0, 1] > 0.55
    assert 1.8 < np.log(bars.high / bars.low).mean() / a.mean() < 2.3
    hours = [bars.volume[bars.open_time // 3_600_000 % 24 == h].mean() for h in range(24)]
    assert int(np.argmax(hours)) in range(13, 17) and max(hours) > 2 * min(hours)
    assert 0.45 < bars.taker_buy.sum() / bars.volume.sum() < 0.55


def test_the_four_hour_trend_has_weeks_of_either_sign() -> None:
    for symbol in SYMBOLS[:3]:
        close = sample_bars(symbol).close[15::16]
        average, sides = close[:200].mean(), []
        for price in close[200:]:
            average += 2 / 201 * (price - average)
            sides.append(price > average)
        assert 0.1 < np.mean(sides) < 0.95
