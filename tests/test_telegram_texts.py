"Catalogue, rendering and commands."

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telethon.extensions import html

from perps_kit.telegram import render as r
from perps_kit.telegram.catalog import CATALOGUES, ENGLISH, Texts, faults
from perps_kit.telegram.commands import parse, pressed
from perps_kit.telegram.facts import CLOSE, SIGNAL
from perps_kit.telegram.words import number, price

texts = Texts()


@pytest.mark.parametrize("language", CATALOGUES)
def test_every_language_has_every_key_with_the_same_facts(language):
    assert faults(CATALOGUES[language]) == []


def test_every_gate_and_exit_of_the_house_has_a_sentence():
    from perps_kit.strategies.ema_scalper import EmaScalper
    from perps_kit.trackers.plan import EXITS, STATES

    assert [f for f in (*EmaScalper.filters, "spacing") if f"gate.{f}" not in ENGLISH] == []
    assert [p for p in EmaScalper.parts._fields if f"part.{p}" not in ENGLISH] == []
    assert [x for x in EXITS[1:] if f"exit.{x}" not in ENGLISH] + [s for s in STATES if f"state.{s}" not in ENGLISH] == []


def well_formed(markup: str) -> bool:
    "Every tag is one that Telegram knows, closed in order."
    open_tags = []
    for closing, tag in re.findall(r"<(/?)([^>]*)>", markup):
        assert tag in ("b", "i", "code"), tag
        if closing:
            assert open_tags.pop() == tag
        else:
            open_tags.append(tag)
    return not open_tags


HOSTILE = "<b>&\"'🟢\x00</code>"


@given(st.text(max_size=300), st.floats(allow_nan=True), st.integers(0, 5))
def test_whatever_the_facts_say_the_markup_holds_and_the_words_survive(word, x, parts):
    facts = {
        **SIGNAL,
        "symbol": word + HOSTILE,
        "strategy": word,
        "mode": word,
        "entry": x,
        "components": {f"{word}{k}": 1.0 for k in range(parts)},
    }
    message = r.signal_message(texts, facts)
    assert well_formed(message.html) and r.length(message.html) <= r.LIMIT
    assert HOSTILE in message.text
    assert html.parse(message.html)[0].strip() or True


def test_a_message_never_exceeds_what_telegram_takes():
    verdicts = [dict(gate=f"gate_{k}", passed=k % 2 == 0, value="🟢" * 50, reason="because & so on") for k in range(400)]
    facts = dict(strategy="s", symbol="BTCUSDT", side=1, minutes=15, time=1, outcome="late", reason="", verdicts=verdicts)
    message = r.why_message(texts, facts)
    assert r.length(message.html) <= 4096 and "more" in message.text.splitlines()[-1] and well_formed(message.html)
    assert r.length(r.alert_message(texts, {"text": "<" * 9000}).html) <= 4096


def test_a_signal_shows_each_target_with_its_reward():
    told = r.signal_message(texts, SIGNAL).text
    assert re.findall(r"Target (\d): ([\d.]+) · R:R 1:([\d.]+) · closes (\d+) %", told) == [
        ("1", "101.20", "0.8", "30"),
        ("2", "101.80", "1.2", "40"),
        ("3", "102.25", "1.5", "30"),
    ]
    assert "Score: 78 of 100" in told and "volume +2.1" in told and "15 % of the margin at 10x" in told


@pytest.mark.parametrize(
    "result, gross_r, gross, net, shown",
    [
        ("LOSS", -1.0, -1.5, -1.59925, ("❌", "−1.00 R", "−15.00 %", "−1.60 %")),
        ("WIN", 0.3, 0.45, 0.349775, ("✅", "+0.30 R", "+4.50 %", "+0.35 %")),
        ("BREAKEVEN", 0.0, 0.0, -0.10, ("⚪", "0.00 R", "0.00 %", "−0.10 %")),
    ],
)
def test_a_close_tells_the_ladders_numbers(result, gross_r, gross, net, shown):
    told = r.close_message(texts, {**CLOSE, "result": result, "gross_r": gross_r, "gross_percent": gross, "net_percent": net}).text
    assert all(word in told for word in shown)


def test_prices_have_the_decimals_of_their_tick():
    assert [price(0.1 + 0.2, 0.1), price(1e-8, 1e-8), price(99999.95, 0.05), price(7.0, 10)] == ["0.3", "0.00000001", "99999.95", "7"]
    assert number("inf") == float("inf") and price("inf") == "–"


@given(st.text(max_size=80))
def test_commands_never_pass_on_anything_odd(text):
    command = parse(text)
    assert command is None or re.fullmatch(r"[A-Za-z0-9_:./-]{0,64}", command.argument)
    command = pressed(text.encode())
    assert command is None or command.name == "why"


def test_buttons_fit_into_what_telegram_sends_back():
    assert all(len(b.data.encode()) <= 64 for row in r.signals_message(texts, [SIGNAL] * 20).buttons for b in row)
