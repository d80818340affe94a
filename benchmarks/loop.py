"""The EMA scalper as one hand-written numba function: what somebody writes who wants nothing but these signals, fast.

Everything is fused into one pass, windows are read straight from the columns, and what only a trigger needs (the nearest zones, the
score) is worked out only there. Nothing can be reused, saved, stepped live or looked at. It is the yardstick for the compiled units.
"""
import numpy as np
from numba import njit

ZONES = 64          # as many as the unit keeps
SIGNAL = ("i", "side", "mode", "entry", "stop", "raw")
FADE = np.exp(-np.arange(301) / 150.0)


@njit(cache=True)
def scalper(open_time, open, high, low, close, volume, out, leaves):
    "Fills `out` with rows of SIGNAL and `leaves` with the side to close at each bar; how many signals there are."
    n, found = len(close), 0
    upper, lower, centre = np.zeros(ZONES), np.zeros(ZONES), np.zeros(ZONES)
    top, bottom, unit = np.zeros(ZONES), np.zeros(ZONES), np.zeros(ZONES)
    worth, heard, ratios = np.zeros(ZONES), np.zeros(ZONES), np.zeros(ZONES)
    role, touched, inside = np.zeros(ZONES, np.int64), np.zeros(ZONES, np.int64), np.zeros(ZONES, np.int64)
    beyond, touches, rejections = np.zeros(ZONES, np.int64), np.zeros(ZONES, np.int64), np.zeros(ZONES, np.int64)
    members, halved = np.zeros(ZONES, np.int64), np.zeros(ZONES, np.bool_)
    live = 0
    fast = slow = slow1 = slow2 = slow3 = gain = loss = atr = 0.0
    volumes, last_kind, last_high, last_low = 0.0, 0, 0.0, 0.0
    slow_1h = fast_1h = slow_4h = fast_4h = dir_1h = dir_4h = 0.0
    before_1h, before_4h = np.zeros(5), np.zeros(5)
    bars_1h = bars_4h = held_1h = held_4h = 0
    last_long = last_short = -100
    was_known = False
    for i in range(n):
        x, hi, lo = close[i], high[i], low[i]
        was_fast, was_slow = fast, slow
        slow1, slow2, slow3 = slow, slow1, slow2
        k = i + 1
        fast += (1.0 / k if k <= 9 else 0.2) * (x - fast)
        slow += (1.0 / k if k <= 21 else 2.0 / 22.0) * (x - slow)
        if i > 0:
            last = close[i - 1]
            reach = max(hi - lo, abs(hi - last), abs(lo - last))
            up, down = max(x - last, 0.0), max(last - x, 0.0)
            if i <= 14:
                gain, loss, atr = gain + up, loss + down, atr + reach
                if i == 14: gain, loss, atr = gain / 14.0, loss / 14.0, atr / 14.0
            else: gain, loss, atr = (gain * 13.0 + up) / 14.0, (loss * 13.0 + down) / 14.0, (atr * 13.0 + reach) / 14.0
        vr = np.nan
        if i >= 20:
            if i % 4096 == 20:
                volumes = 0.0
                for j in range(i - 20, i): volumes += volume[j]
            if volumes > 0.0: vr = 20.0 * volume[i] / volumes
            volumes += volume[i] - volume[i - 20]

        # swings: strict to the left, not to the right
        kind, j = 0, i - 5
        if i >= 10:
            peak = trough = True
            for m in range(1, 6):
                if high[j - m] >= high[j] or high[j + m] > high[j]:
                    peak = False
                    break
            for m in range(1, 6):
                if low[j - m] <= low[j] or low[j + m] < low[j]:
                    trough = False
                    break
            both = peak and trough
            peak = peak and (both or last_kind != 1 or high[j] > last_high)
            trough = trough and (both or last_kind != -1 or low[j] < last_low)
            if peak: last_high = high[j]
            if trough: last_low = low[j]
            if both: kind = -2 if last_kind == 1 else 2
            elif peak: kind = 1
            elif trough: kind = -1
            if kind != 0: last_kind = -1 if kind == 2 else 1 if kind == -2 else kind

        # zones: touches, breaks, expiry
        known_atr, stale = i >= 14, False
        margin = 0.25 * atr
        for z in range(live):
            if lo <= upper[z] and hi >= lower[z]:
                fresh = k - inside[z] > 3
                inside[z] = k
                if fresh:
                    above = last > centre[z]
                    wick = min(open[i], x) - lo if above else hi - max(open[i], x)
                    back = x > upper[z] if above else x < lower[z]
                    touched[z], halved[z] = k, False
                    touches[z] += 1
                    if back and wick >= 0.4 * (hi - lo): rejections[z] += 1
                    if vr == vr:
                        ratios[z] += vr
                        heard[z] += 1.0
                    usual = ratios[z] / heard[z] if heard[z] > 0.0 else 0.0
                    worth[z] = 8.0 * min(touches[z], 5) + 25.0 * min(rejections[z], 3) / 3.0
                    worth[z] += 15.0 * min(max((usual - 0.8) / 1.2, 0.0), 1.0)
            if (x > upper[z] + margin) if role[z] > 0 else (x < lower[z] - margin):
                if beyond[z] == k - 1: role[z], beyond[z], halved[z] = -role[z], -1, True
                else: beyond[z] = k
            if k - touched[z] >= 300: stale = True
        room_for_two = live + 2 <= ZONES
        if stale or (kind != 0 and not room_for_two):
            oldest = 0
            if not stale:
                oldest = touched[0]
                for z in range(live): oldest = min(oldest, touched[z])
            kept = 0
            for z in range(live):
                if k - touched[z] >= 300 or touched[z] == oldest: continue
                if kept < z:
                    upper[kept], lower[kept], centre[kept] = upper[z], lower[z], centre[z]
                    top[kept], bottom[kept], unit[kept] = top[z], bottom[z], unit[z]
                    worth[kept], heard[kept], ratios[kept], role[kept], touched[kept] = worth[z], heard[z], ratios[z], role[z], touched[z]
                    inside[kept], beyond[kept], touches[kept], rejections[kept] = inside[z], beyond[z], touches[z], rejections[z]
                    members[kept], halved[kept] = members[z], halved[z]
                kept += 1
            live = kept
        for turn in range(2):
            sort = 0
            if turn == 0: sort = -1 if kind == -1 or kind == -2 else 1 if kind > 0 else 0
            elif kind == 2: sort = -1
            elif kind == -2: sort = 1
            if sort == 0 or not (known_atr and atr > 0.0): continue
            price = last_high if sort > 0 else last_low
            best, nearest = -1, 0.5 * atr
            for z in range(live):
                distance = abs(centre[z] - price)
                if distance < nearest or (best < 0 and distance == nearest): best, nearest = z, distance
            if best < 0:
                best, live = live, live + 1
                role[best], centre[best], top[best], bottom[best], unit[best] = sort, price, price, price, atr
                touched[best], inside[best], beyond[best], halved[best] = k, k, -1, False
                worth[best], heard[best], ratios[best], touches[best], rejections[best], members[best] = 0.0, 0.0, 0.0, 0, 0, 0
            members[best] += 1
            centre[best] += (price - centre[best]) / members[best]
            top[best], bottom[best] = max(top[best], price), min(bottom[best], price)
            half = min(max(0.25 * unit[best], 0.5 * (top[best] - bottom[best])), 0.75 * unit[best])
            upper[best], lower[best] = centre[best] + half, centre[best] - half

        # the hour and the four hours, at their closes
        held_1h, held_4h = held_1h + 1, held_4h + 1
        minutes = open_time[i] // 60_000 + 15
        if minutes % 60 == 0:
            if held_1h == 4:
                bars_1h += 1
                slow_1h += (1.0 / bars_1h if bars_1h <= 200 else 2.0 / 201.0) * (x - slow_1h)
                fast_1h += (1.0 / bars_1h if bars_1h <= 50 else 2.0 / 51.0) * (x - fast_1h)
                then, before_1h[bars_1h % 5] = before_1h[bars_1h % 5], fast_1h
                dir_1h = 1.0 if x > slow_1h and fast_1h > then else -1.0 if x < slow_1h and fast_1h < then else 0.0
            held_1h = 0
            if minutes % 240 == 0:
                if held_4h == 16:
                    bars_4h += 1
                    slow_4h += (1.0 / bars_4h if bars_4h <= 200 else 2.0 / 201.0) * (x - slow_4h)
                    fast_4h += (1.0 / bars_4h if bars_4h <= 50 else 2.0 / 51.0) * (x - fast_4h)
                    then, before_4h[bars_4h % 5] = before_4h[bars_4h % 5], fast_4h
                    dir_4h = 1.0 if x > slow_4h and fast_4h > then else -1.0 if x < slow_4h and fast_4h < then else 0.0
                held_4h = 0

        known = bars_4h >= 250 and bars_1h >= 250 and vr == vr
        ready, was_known = known and was_known, known
        if not ready: continue
        crossed = 1 if was_fast <= was_slow and fast > slow else -1 if was_fast >= was_slow and fast < slow else 0
        leaves[i] = -crossed
        side, mode, apart = crossed, 0, (fast - slow) / slow
        if side * (x - slow) <= 0.0:
            mode, side = 1, 0
            if apart >= 0.008: side = 1 if slow > slow3 and lo <= fast and x > fast and x > open[i] else 0
            elif apart <= -0.008: side = -1 if slow < slow3 and hi >= fast and x < fast and x < open[i] else 0
        if side == 0 or vr < 1.2: continue
        minute = minutes % 1440
        if minute < 480 or minute >= 1260: continue
        rsi = 50.0 if gain + loss == 0.0 else 100.0 * gain / (gain + loss)
        align = 0.5 * (side * dir_1h + side * dir_4h)
        if rsi < 30.0 or rsi > 70.0 or align < 0.0: continue
        risk = 1.5 * atr
        if not risk > 0.0 or 100.0 * atr / x < 0.1 or 100.0 * atr / x > 10.0 or risk / x > 0.1: continue
        distance = np.inf
        for z in range(live):
            if role[z] != side or not ((upper[z] > x) if side > 0 else (lower[z] < x)): continue
            near = max(0.0, lower[z] - x if side > 0 else x - upper[z])
            if near < distance:
                strength = worth[z] + 20.0 * FADE[k - touched[z]]
                if (0.5 * strength if halved[z] else strength) >= 40.0: distance = near
        room = distance / risk
        if room < 0.8: continue
        momentum = min(max((side * apart - 0.008) / 0.008, 0.0), 1.0) if mode == 1 else min(abs(slow - slow3) / atr / 0.5, 1.0)
        headroom = 70.0 - rsi if side > 0 else rsi - 30.0
        score = 2.5 * min((vr - 1.2) / 1.3, 1.0) + 2.0 * momentum + 2.0 * align + 1.5 * min(headroom / 20.0, 1.0)
        score += min((room - 0.8) / 1.2, 1.0)
        if minute >= 780 and minute < 960: score += 1.0
        raw = np.rint(10.0 * score) / 10.0
        if raw < 5.0: continue
        if mode == 1:
            if i - (last_long if side > 0 else last_short) <= 8: continue
            if side > 0: last_long = i
            else: last_short = i
        out[found, 0], out[found, 1], out[found, 2], out[found, 3], out[found, 4], out[found, 5] = i, side, mode, x, x - side * risk, raw
        found += 1
    return found
