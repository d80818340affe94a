"A strategy that does what the candles' volumes tell it to, for tests that want signals at chosen bars; warm after one bar."

from math import nan
from typing import NamedTuple

from perps_kit.core.features import on
from perps_kit.core.signal import TRIPLE, Signal
from perps_kit.indicators.sma import SMA
from perps_kit.scoring.book import Pipeline

BUY, SELL, LEAVE_LONGS, LEAVE_SHORTS, QUIET = 1001.0, 1002.0, 1003.0, 1004.0, 10.0
FREELY = Pipeline(weigh=False, after_stop=0, after_close=0)  # nothing but what a test is about


class Parts(NamedTuple):
    volume: float = 0.0


class Told(NamedTuple):
    "Buys on a volume of 1001, sells on 1002, wants longs closed on 1003 and shorts on 1004; `shift` is added to each."

    score: float = 8.0
    shift: float = 0.0
    width: float = 2.0
    filters, modes, spacing, parts, minutes = (), ("TOLD",), {}, Parts, 15

    def features(self):
        return dict(mean=on(SMA.of(1), "close"))

    def decide(self, now, was):
        said = now.bar.volume - self.shift
        side = 1 if said == BUY else -1 if said == SELL else 0
        close = now.bar.close
        return Signal(side, 0, close, close - side * self.width, TRIPLE, nan, nan, nan, 1.0, self.score, 0, Parts(self.score))

    def leave(self, now, was):
        said = now.bar.volume - self.shift
        return 1 if said == LEAVE_LONGS else -1 if said == LEAVE_SHORTS else 0
