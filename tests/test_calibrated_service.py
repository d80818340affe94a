"A probability beside each score: learned in research, written to a file, told by the service."

import json

import pytest

from perps_kit.backtest.calibration import Calibrator
from perps_kit.telegram.catalog import texts_in
from perps_kit.telegram.render import odds_line
from runners.errors import ConfigError
from runners.live.service import odds_of
from runners.settings import load

LEARNED = Calibrator("isotonic", (50.0, 90.0), (0.4, 0.6), 250)


def settings(tmp_path, text: str | None):
    kept = tmp_path / "calibration.json"
    if text is not None:
        kept.write_text(text)
    return load(environ={}, calibration=kept)


def test_a_score_has_the_probability_that_was_learned_and_only_for_its_strategy(tmp_path):
    odds = odds_of(settings(tmp_path, json.dumps(dict(pullback=LEARNED._asdict()))))
    assert odds is not None and odds("pullback", 70.0) == pytest.approx(0.5)
    assert odds("ema_scalper", 70.0) != odds("ema_scalper", 70.0)  # nan: nobody measured it
    assert odds_of(load(environ={})) is None


@pytest.mark.parametrize("text", [None, "{", "[1]", '{"pullback": {"kind": "oracle"}}', '{"pullback": {"wrong": 1}}'])
def test_a_file_that_cannot_be_read_stops_the_start_with_one_sentence(tmp_path, text):
    with pytest.raises(ConfigError, match="calibration"):
        odds_of(settings(tmp_path, text))


def test_a_message_tells_the_odds_only_where_they_are_known():
    (line,) = odds_line(texts_in("en"), 0.4312)
    assert "43 %" in line
    assert odds_line(texts_in("en"), None) == odds_line(texts_in("en"), float("nan")) == odds_line(texts_in("en"), "nan") == []
