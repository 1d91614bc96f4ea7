"""What simulators of this kind were found to get wrong: a case for each, by hand where it can be.

Here: what is seen, how episodes begin and end, what input is taken. Fills, exits and costs stand in
`test_peers_defects_ledger`. Each case is run in every environment that it concerns, scalar and as
one lane of a vector.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import MarketDataError
from tests import markets
from tests.rollouts import assert_same, of_lane
from tests.words import BRACKETS, LEVELS, every, flat, make, tell

STEPS = 12


def closes(bars):
    """A feature that is the bar's own close: a window then shows which bars are in it."""
    return bars[["close"]]


def counting(count=90):
    """Bars from midnight whose close is the number of the minute, one up."""
    frame = markets.flat_bars(count)
    frame["close"] = frame["high"] = np.arange(1.0, count + 1.0)
    frame["open"] = frame["low"] = frame["close"] - 0.5
    return frame


def one_lane(batch, batched):
    """The observation of the lane that is looked at."""
    return of_lane(batch, 1) if batched else batch


def observed(kind, batched, env, steps):
    """The observations of an episode in which nothing is done, that of the reset first."""
    idle = LEVELS["flat"] if kind == "Sequential" else BRACKETS["hold"]
    found = [one_lane(env.reset(seed=3)[0], batched)]
    for _ in range(steps):
        found.append(one_lane(env.step([idle] * 3 if batched else idle)[0], batched))
    return found


def window_ends(kind, batched, frame, begin, steps=STEPS, **arguments):
    """Time -> last close in each window, minute by minute from `begin` on."""
    ends = {}
    for step in range(steps + 1):
        start = pd.Timestamp(f"2023-01-02 {begin}") + pd.Timedelta(minutes=step)
        env = make(kind, batched, frame, features=closes, start=str(start), **arguments)
        windows = one_lane(env.reset(seed=3)[0], batched)
        windows = {key: window for key, window in windows.items() if key != "account_state"}
        ends[f"{start:%H:%M}"] = {key: window[-1, 0] for key, window in windows.items()}
    return ends


TWO_FRAMES = {"time_frames": ["1min", "5min"], "window_sizes": [3, 2]}


@every
def test_coarse_bars_labelled_by_their_start(kind, batched):
    """The bar of 00:30 closes at 35.0; before 00:35 nobody can know that."""
    for time, ends in window_ends(kind, batched, counting(), "00:30", **TWO_FRAMES).items():
        now = float(time[3:])
        assert ends["market_data_5Minute"] <= now, time
        assert ends["market_data_1Minute"] == now


@every
def test_one_decision_late_at_aligned_instants(kind, batched):
    """At 00:35 the bar that has just closed is shown, in both windows."""
    ends = window_ends(kind, batched, counting(), "00:30", **TWO_FRAMES)
    for time in ("00:30", "00:35", "00:40"):
        assert set(ends[time].values()) == {float(time[3:])}


@every
def test_forming_bars_shown(kind, batched):
    """From 00:31 to 00:34 the last five-minute bar is still that which closed at 00:30."""
    ends = window_ends(kind, batched, counting(), "00:30", **TWO_FRAMES)
    seen = [ends[f"00:{minute}"]["market_data_5Minute"] for minute in range(30, 41)]
    assert seen == [30.0] * 5 + [35.0] * 5 + [40.0]


@every
@pytest.mark.parametrize("start", ["2023-03-25", "2023-10-28"])
def test_daylight_saving_bins(kind, batched, start):
    """Four-hour bars are those of UTC, whatever the clocks of the frame's own zone did."""
    frame = markets.bars(96, 5, interval="1h", start=start, missing=0.0).tz_localize("UTC")
    local = frame.tz_convert("Europe/Berlin")
    assert len(set(local.index.map(lambda stamp: stamp.utcoffset()))) == 2
    hours = {"time_frames": ["1h", "4h"], "window_sizes": [3, 2], "execute_on": "1h",
             "features": closes, "start": f"{frame.index[44]}"}  # fmt: skip
    here, there = (make(kind, batched, given, **hours) for given in (local, frame))
    (ours,), (theirs,) = (observed(kind, batched, env, 0) for env in (here, there))
    assert_same(ours, theirs)
    # at 20:00 of the day of the change: the bars from 12:00 and from 16:00
    four = frame["close"].to_numpy(np.float32)[[24 + 15, 24 + 19]]
    np.testing.assert_array_equal(ours["market_data_4Hour"][:, 0], four)
    for name in ("instants", "bins", "starts", "features"):
        assert_same(getattr(here.tables[0], name), getattr(there.tables[0], name))


@every
def test_scalers_fitted_on_the_whole_frame(kind, batched):
    """Whatever comes after 00:40, and whether there is an after: the same until then."""
    frame = markets.bars(120, 1, start="2023-01-02", missing=0.0)
    wild = frame.copy()
    wild.iloc[40:, :4] *= 1000.0
    wild.iloc[40:, 4] *= 1e6
    seen = []
    for given in (frame, wild, frame.iloc[:46]):
        arguments = {"rollout_steps": 5} if kind == "OneStep" else {}
        env = make(kind, batched, given, **TWO_FRAMES, **arguments)
        seen.append(observed(kind, batched, env, 0 if kind == "OneStep" else 10))
    for other in seen[1:]:
        assert_same(dict(enumerate(other)), dict(enumerate(seen[0])))


@every
def test_an_observation_that_is_a_view_of_a_live_buffer(kind, batched):
    """A step leaves the last observation alone, and writing into it changes nothing."""
    frame = markets.bars(120, 1, start="2023-01-02", missing=0.0)
    envs = [make(kind, batched, frame) for _ in range(2)]
    (kept, _), (spoilt, _) = (env.reset(seed=1) for env in envs)
    before = {key: array.copy() for key, array in kept.items()}
    for array in spoilt.values():
        array.flags.writeable = True
        array[...] = 7.0
    for action in (2, 1, 2)[: 1 if kind == "OneStep" else 3]:
        steps = [env.step([action] * 3 if batched else action) for env in envs]
        assert_same(steps[0][0], steps[1][0])
        for array in steps[1][0].values():
            array[...] = -7.0
    assert_same(kept, before)


# --- episodes ---------------------------------------------------------------------------


@every
def test_state_of_one_episode_visible_in_the_next(kind, batched):
    """However the first one went, the second begins as that of an account never used."""
    frame = markets.bars(400, 3, start="2023-01-02", missing=0.0, volatility=0.004)
    noisy = {
        "leverage": 5, "random_start": True, "episode_steps": 30, "slippage": 0.001,
        "slippage_model": "uniform", "initial_cash": (5e3, 2e4), "reward": "differential_sharpe",
    }  # fmt: skip
    begun = []
    for actions in ([], [2], [2, 0, 2], [0, 2, 0, 2]):
        env = make(kind, batched, frame, **noisy)
        env.reset(seed=4)
        for action in actions[: 1 if kind == "OneStep" else None]:
            env.step([action] * 3 if batched else action)
        observation, _ = env.reset()
        step = env.step([2] * 3 if batched else 2)
        rows = env.history().drop(columns="timestamp").fillna(0.0)
        begun.append([observation, step[0], step[1], dict(rows.astype(str))])
        assert (rows.loc[0, ["position", "fees_paid", "funding_paid", "steps_held"]] == 0.0).all()
        account = one_lane(observation, batched)["account_state"]
        assert account.tolist() == [0.0, 0.0, 0.0, 0.0, 5.0, 1.0]
    for other in begun[1:]:
        assert_same(dict(enumerate(other)), dict(enumerate(begun[0])))


@every
def test_truncation_reported_as_termination(kind, batched):
    """The end of the data or of the episode is no failure; a rollout ends as it should."""
    for arguments in ({}, {"episode_steps": STEPS}):
        told = tell(kind, batched, flat(30 + STEPS), ["long"] + ["hold"] * (STEPS - 1), **arguments)
        assert (told.terminated, told.truncated) == (kind == "OneStep", kind != "OneStep")
        assert told.last["position"] > 0.0


@every
@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_episodes_one_step_short(kind, batched, steps):
    """Exactly as many decisions as asked for, or as there are bars: the last bar is walked too."""
    for count, limit in ((90, steps), (30 + steps, None)):
        words = ["long"] + ["hold"] * (steps - 1 if kind == "OneStep" else 50)
        told = tell(kind, batched, flat(count), words, episode_steps=limit)
        assert len(told.history) == steps + 1
        if kind != "OneStep":
            assert len(told.rewards) == steps
    assert told.last["timestamp"] == flat(count).index[-1] + pd.Timedelta("1min")


@every
def test_seeds_that_never_reach_the_start_or_the_slippage(kind, batched):
    """A seed is an episode, another one is another; NumPy's global state has no part in it."""
    frame = markets.bars(600, 2, start="2023-01-02", missing=0.0)
    runs = []
    for seed in (11, 11, 12):
        np.random.seed(len(runs))
        told = tell(kind, batched, frame, ["long", "hold"], seed, random_start=True, start=None,
                    slippage=0.01, slippage_model="uniform")  # fmt: skip
        (fill,) = told.fills.itertuples()
        runs.append((fill.timestamp, fill.price / fill.reference_price - 1.0, told.rewards))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0]
    assert 0.0 < runs[0][1] < 0.01
    assert runs[0][1] != pytest.approx(runs[2][1], rel=1e-3)


# --- input ------------------------------------------------------------------------------


def swapped(frame):
    """Two neighbours in the wrong order."""
    order = np.arange(len(frame))
    order[[20, 21]] = [21, 20]
    return frame.iloc[order]


def with_price(value, column="close"):
    """One cell of one bar replaced."""

    def spoil(frame):
        frame = frame.copy()
        frame.iloc[20, frame.columns.get_loc(column)] = value
        return frame

    return spoil


BAD = {
    "unsorted": swapped,
    "newest first": lambda frame: frame.iloc[::-1],
    "duplicate": lambda frame: frame.iloc[[*range(20), *range(19, len(frame))]],
    "NaN": with_price(np.nan),
    "negative": with_price(-100.0),
    "zero": with_price(0.0, "low"),
    "infinite": with_price(np.inf, "high"),
    "minus infinity": with_price(-np.inf, "open"),
    "high below close": with_price(99.0, "high"),
    "NaN volume": with_price(np.nan, "volume"),
    "negative volume": with_price(-1.0, "volume"),
}


@every
@pytest.mark.parametrize("name", BAD)
def test_bad_bars_accepted(kind, batched, name):
    """Refused when the environment is made, with the row."""
    with pytest.raises(MarketDataError, match="row "):
        make(kind, batched, BAD[name](flat()))
    make(kind, batched, flat())  # which is nothing but the frame before it was spoilt
