"What the site draws itself: the chart of the front page, and the colours that plots change with the theme of the page."

import json
import sys
from pathlib import Path
from typing import Any

DAYS, SYMBOL, STRATEGY = 45, "SOLUSDT", "action_price"
PLAIN = {
    "white": "#14181f",
    "#e5e5e5": "#262c37",
    "black": "#d8dce4",
    "#333333": "#c5cad4",
    "gray": "#7b8496",
    "grey": "#7b8496",
    "#d0d5dd": "#3a4250",
}


def colors() -> dict[str, str]:
    "A dark colour for each light one: the table of the house, and Bokeh's own defaults."
    from perps_kit.research.themes import DARK

    return PLAIN | DARK


def chart() -> Any:
    "Sample candles with a strategy's averages, signals and trades."
    from perps_kit.core.features import on
    from perps_kit.core.registry import strategy
    from perps_kit.data.sample import sample_bars, sample_funding, sample_markets
    from perps_kit.indicators.ema import EMA
    from perps_kit.indicators.rsi import RSI
    from perps_kit.research.market_chart import Seen, market_chart
    from perps_kit.research.paper import study

    bars, it = sample_bars(SYMBOL), strategy(STRATEGY)
    trades = study(it, {SYMBOL: bars}, {SYMBOL: sample_funding(SYMBOL)}, {SYMBOL: sample_markets()[SYMBOL].tick}).result.trades
    shown = bars[len(bars) - DAYS * 96 :]
    return market_chart(
        shown,
        overlays={f"EMA {n}": on(EMA.of(n), "close") for n in (50, 200)},
        panes={"RSI": Seen(on(RSI.of(14), "close"), levels=(30.0, 70.0))},
        signals=[t.candidate for t in trades],
        trades=trades,
        title=f"{SYMBOL}, a made-up market",
        height=360,
        visible=420,
    )


def scripts(folder: Path, colors_only: bool = False) -> None:
    "Write both as scripts, which a page opened from a disk may load, too."
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "colors.js").write_text(f"window.DARK_OF = {json.dumps(colors())};\n", encoding="utf-8")
    if colors_only:
        return
    from bokeh.embed import json_item

    item = json.dumps(json_item(chart()), allow_nan=True, separators=(",", ":"))
    (folder / "front_chart.js").write_text(f"window.FRONT_CHART = {item};\n", encoding="utf-8")


if __name__ == "__main__":
    scripts(Path(sys.argv[1]))
