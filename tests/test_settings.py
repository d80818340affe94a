"Settings: one file, the environment over it, and one sentence for whatever is wrong."

import pytest

from runners.errors import ConfigError
from runners.logs import redacted
from runners.settings import load


def refusal(path=None, environ=None, **given) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, **given)
    return str(caught.value)


def test_the_defaults_trade_on_paper_and_listen_on_this_machine_only():
    settings = load(environ={})
    assert settings.mode == "paper" and settings.http.host == "127.0.0.1" and settings.venue.replay is None


def test_the_environment_goes_over_the_file_and_arguments_over_both(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("mode: signals\nvenue:\n  timeout: 20\nsymbols: [BTCUSDT, ETHUSDT]\n")
    settings = load(path, {"PERPS_VENUE__TIMEOUT": "30", "PERPS_SYMBOLS": '["SOLUSDT"]', "OTHER": "x"}, mode="paper", http=dict(port=None))
    assert (settings.mode, settings.venue.timeout, settings.symbols, settings.http.port) == ("paper", 30.0, ("SOLUSDT",), 8000)


@pytest.mark.parametrize(("text", "expected"), [
    ("mod: paper", "did you mean 'mode'"),
    ("venue: {replai: {}}", "did you mean 'replay'"),
    ("mode: fast", "'mode'"),
    ("timeframe: 7m", "unknown timeframe '7m'"),
    ("[1, 2]", "must hold names and values"),
    ("mode: [", "is not YAML"),
    ("venue: {secret: abc}", "PERPS_VENUE__SECRET"),
    ("telegram: {token: '1:abc'}", "PERPS_TELEGRAM__TOKEN"),
    ("database: postgresql://me:hush@host/perps", "PERPS_DATABASE"),
])
def test_a_wrong_file_gets_one_sentence_with_the_remedy(tmp_path, text, expected):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    assert expected in refusal(path)


def test_a_missing_file_is_named(tmp_path):
    assert "nowhere.yaml" in refusal(tmp_path / "nowhere.yaml")


def test_live_needs_two_switches():
    assert "PERPS_LIVE__CONFIRMED" in refusal(environ={"PERPS_MODE": "live"})
    assert load(environ={"PERPS_MODE": "live", "PERPS_LIVE__CONFIRMED": "true"}).mode == "live"


def test_secrets_do_not_show_when_settings_are_printed():
    settings = load(environ={"PERPS_VENUE__SECRET": "hush-hush", "PERPS_TELEGRAM__TOKEN": "123456:letters"})
    assert "hush" not in repr(settings) and "letters" not in repr(settings)


@pytest.mark.parametrize(("text", "hidden"), [
    ("GET https://host/x?signature=abcdef0123&timestamp=1", "abcdef0123"),
    ("https://api.telegram.org/bot with 12345678:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr", "AAbbCC"),
    ("postgresql://me:pa55word@host/db", "pa55word"),
    ("{'apiKey': 'deadbeefdeadbeef'}", "deadbeef"),
])
def test_logs_hide_secrets(text, hidden):
    assert hidden not in redacted(text) and "***" in redacted(text)
