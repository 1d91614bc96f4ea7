"""``history()``, ``fills()`` and ``all_fills()``: equal to what the steps have returned."""

from __future__ import annotations

import copy
import datetime
import pickle

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gym_trade import types
from gym_trade.history import MARK_COLUMNS
from tests import markets
from tests.rollouts import CONFIGURATIONS, FRAMES, SMALL, configured_scalar
from tests.rollouts import scalar as make
from tests.rollouts import vector as make_vector
from tests.round_trips import assert_same_frames, frames_of

ROLLOUTS = ("one step", "left open")
MARK_KINDS = dict.fromkeys(MARK_COLUMNS, "float64") | {
    "timestamp": "datetime64[ns]", "action": "Int64", "steps_held": "int64", "exit_reason": "object"
}  # fmt: skip
FILL_KINDS = {
    "step": "int64", "bar": "int64", "timestamp": "datetime64[ns]", "quantity": "float64",
    "reference_price": "float64", "price": "float64", "fee": "float64", "reason": "object",
    "position": "float64", "entry_price": "float64", "cash": "float64",
}  # fmt: skip


def kinds(frame):
    return {name: str(kind) for name, kind in frame.dtypes.items()}


def draw_one(env, rng):
    if env.config.continuous:
        return rng.uniform(-1.3, 1.3, 1).astype(np.float32)
    return int(rng.integers(0, env.action_space.n))


def row_of(env, observation, info, action, reward):
    """A row of the history, put together from what reset or step has returned."""
    state = observation["account_state"] if isinstance(observation, dict) else observation[-6:]
    stamp = datetime.datetime.fromisoformat(info["timestamp"]).replace(tzinfo=None)
    bracket = (float(env.engine.lanes[f"{name}_price"][0]) or np.nan for name in ("stop", "target"))
    named = {name: info[name] for name in ("price", "portfolio_value", "cash", "position",
                                           "entry_price", "fees_paid", "funding_paid")}  # fmt: skip
    return named | {
        "timestamp": pd.Timestamp(stamp), "action": action, "reward": reward,
        "stop_price": next(bracket), "target_price": next(bracket), "steps_held": int(state[3]),
        "exposure": float(state[0]) * float(state[1]), "exit_reason": info["exit_reason"],
    }  # fmt: skip


def play(env, rng, seed=None, steps=10_000):
    """An episode, or its first steps; returns the rows that its history should have."""
    observation, info = env.reset(seed=seed)
    none = np.nan if env.config.continuous else pd.NA
    rows = [row_of(env, observation, info, none, 0.0)]
    for _ in range(steps):
        action = draw_one(env, rng)
        observation, reward, terminated, truncated, info = env.step(action)
        taken = action
        if env.config.continuous:
            low = -1.0 if env.config.shorts else 0.0
            taken = float(np.clip(action[0], low, 1.0))
        rows.append(row_of(env, observation, info, taken, reward))
        if terminated or truncated:
            break
    frame = pd.DataFrame(rows)[list(MARK_COLUMNS)]
    return frame.astype({"action": "float64" if env.config.continuous else "Int64"})


def same_marks(got, expected):
    """Every number exactly, but the exposure: it is observed in float32."""
    columns = [name for name in MARK_COLUMNS if name != "exposure"]
    assert_frame_equal(got[columns], expected[columns], check_exact=True)
    np.testing.assert_allclose(got["exposure"], expected["exposure"], rtol=1e-6, atol=1e-300)


# --- equal to what was returned ---------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name not in ROLLOUTS])
def test_a_history_is_what_the_steps_returned(name):
    longer = {"continuous": {"episode_steps": 70}}.get(name, {})
    env, rng = configured_scalar(name, **longer), np.random.default_rng(0)
    exits, most = set(), 0
    for episode in range(12):
        expected = play(env, rng, None if episode else 7)
        marks, fills = env.history(), env.all_fills()
        same_marks(marks, expected)
        assert kinds(marks) == MARK_KINDS | ({"action": "float64"} if name == "continuous" else {})
        assert tuple(marks.columns) == MARK_COLUMNS
        assert not len(fills) or kinds(fills) == FILL_KINDS
        assert len(marks) == env.engine.lanes["steps"][0] + 1
        assert marks["timestamp"].is_monotonic_increasing and marks["timestamp"].is_unique
        exits |= set(marks["exit_reason"])
        most = max(most, len(fills))
    assert most > 3
    wanted = {"wild": {"liquidation"}, "continuous": {"margin_call"},
              "brackets": {"stop_loss", "take_profit", "liquidation"}}  # fmt: skip
    assert exits >= wanted.get(name, set())


@pytest.mark.parametrize("name", ROLLOUTS)
def test_a_rollouts_history_has_a_row_a_decision(name):
    env, rng = configured_scalar(name), np.random.default_rng(1)
    longest, exits = 0, set()
    for episode in range(70):
        ends = play(env, rng, None if episode else 3)
        marks = env.history()
        assert len(ends) == 2
        total = marks["reward"].sum()
        assert total == pytest.approx(ends["reward"].iloc[1], rel=1e-12, abs=1e-15)
        assert marks["reward"].iloc[0] == 0.0
        if name == "left open":  # each decision step's own reward, which is the equity gained
            gained = marks["portfolio_value"].diff().fillna(0.0)
            np.testing.assert_array_equal(marks["reward"], gained)
        assert marks["action"].iloc[1] == ends["action"].iloc[1]
        assert marks["action"].isna().tolist() == [True, False] + [True] * (len(marks) - 2)
        left_out = ["action", "reward"]
        same = marks.iloc[[0, -1]].reset_index(drop=True).drop(columns=left_out)
        same_marks(same.assign(action=pd.NA, reward=0), ends.assign(action=pd.NA, reward=0))
        assert kinds(marks) == MARK_KINDS
        inside = marks.iloc[1:-1]
        assert (inside["position"] != 0.0).all() and (inside["exit_reason"] == "").all()
        assert_frame_equal(env.fills(), env.all_fills())  # of the last step: all of them
        longest, exits = max(longest, len(marks)), exits | set(marks["exit_reason"])
    assert longest == 1 + env.config.longest_episode
    assert ("rollout_end" in exits) == (name == "one step")


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name not in ROLLOUTS])
def test_the_fills_of_each_step_are_all_fills(name):
    """And their sums, prices and bars fit what the account and the market say."""
    env, rng = configured_scalar(name), np.random.default_rng(2)
    parts, marks, n_fills = [], None, 0
    env.reset(seed=2)
    for _ in range(12):
        *_, terminated, truncated, _ = env.step(draw_one(env, rng))
        parts.append(env.fills())
        if terminated or truncated:
            break
    fills, marks = env.all_fills(), env.history()
    assert_frame_equal(pd.concat(parts, ignore_index=True), fills, check_dtype=False)
    assert [len(part) for part in parts] == [(fills["step"] == n).sum() for n in range(len(parts))]
    assert fills["fee"].sum() == pytest.approx(marks["fees_paid"].iloc[-1], rel=1e-12)
    held = 0.0
    market = env.markets[int(env.engine.lanes["market"][0])]
    stamps = market.to_frame().index
    for fill in fills.itertuples():
        held += fill.quantity
        assert fill.position == pytest.approx(held, rel=1e-9, abs=1e-9)
        assert (fill.price - fill.reference_price) * fill.quantity >= 0.0
        assert market.bars[fill.bar, types.LOW] <= fill.reference_price * (1 + 1e-12)
        assert fill.reference_price <= market.bars[fill.bar, types.HIGH] * (1 + 1e-12)
        begin, end = marks["timestamp"].iloc[[fill.step, fill.step + 1]]
        early = pd.Timedelta("1min") if env.config.fill_at == "close" else pd.Timedelta(0)
        assert begin - early <= fill.timestamp < end
        assert fill.timestamp == stamps[fill.bar]
        n_fills += 1
    last = fills.groupby("step").last()
    np.testing.assert_array_equal(last["position"], marks["position"].to_numpy()[last.index + 1])
    assert n_fills > 2


# --- long episodes ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Sequential", "SLTP"])
def test_a_journal_outgrows_its_first_room(kind):
    """Twice: the second episode uses what the first has made."""
    near = {"stoploss_levels": (-0.003,), "takeprofit_levels": (0.003,)} if kind == "SLTP" else {}
    env = make(
        markets.bars(3000, missing=0.0), kind, execute_on="1min", leverage=3, slippage=1e-4,
        episode_steps=2300, bankrupt_threshold=0.0, **near,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    for episode in range(2):
        expected = play(env, rng, None if episode else 1)
        assert len(expected) == 2301
        same_marks(env.history(), expected)
        fills = env.all_fills()
        assert len(fills) > 1000 and fills["step"].is_monotonic_increasing
        paid = fills["fee"].cumsum().groupby(fills["step"]).last()
        np.testing.assert_allclose(
            expected["fees_paid"].to_numpy()[paid.index + 1], paid, rtol=1e-9
        )
        assert (fills["position"] - fills["quantity"]).iloc[1:].to_numpy() == pytest.approx(
            fills["position"].iloc[:-1].to_numpy(), abs=1e-9
        )


def test_a_rollout_outgrows_its_first_room():
    env = make(
        markets.bars(3000, missing=0.0, volatility=1e-4), "OneStep", execute_on="1min",
        rollout_steps=2300, stoploss_levels=(-0.5,), takeprofit_levels=(5.0,), random_start=False,
    )  # fmt: skip
    env.reset(seed=0)
    env.step(1)
    marks = env.history()
    assert len(marks) == 2301
    first = int(env.engine.ranges[0, 0])
    ends = env.engine.tables.bar_end[first : first + 2301] - 1
    np.testing.assert_array_equal(marks["price"], env.markets[0].close[ends])
    assert marks["steps_held"].tolist() == [*range(2300), 0]


# --- copies, errors ---------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_keeps_its_history_and_goes_on(duplicate):
    env = make(leverage=5, execute_on="1min", episode_steps=420, bankrupt_threshold=0.0)
    rng = np.random.default_rng(6)
    play(env, rng, 4, steps=200)
    before, twin = frames_of(env), duplicate(env)
    assert_same_frames(frames_of(twin), before)
    actions = rng.integers(0, 5, 200)  # beyond the journal's first room, on either side
    for action in actions:
        twin.step(action)
    assert_same_frames(frames_of(env), before)
    for action in actions:
        env.step(action)
    assert len(env.history()) == 401
    assert_same_frames(frames_of(env), frames_of(twin))
    venv = make_vector(num_envs=3, record_lane=1, episode_steps=9)
    venv.reset(seed=0)
    for step in range(14):
        venv.step(np.full(3, step % 3))
    again = duplicate(venv)
    for each in (venv, again):
        each.step(np.array([2, 1, 0]))
    assert_same_frames(frames_of(venv), frames_of(again))


def test_frames_are_the_callers_own():
    env = make(episode_steps=20)
    play(env, np.random.default_rng(7), 0)
    before = frames_of(env)
    for frame in frames_of(env):
        frame.loc[:, frame.select_dtypes("number").columns] = 0
    assert_same_frames(frames_of(env), before)


def test_through_gymnasiums_wrappers():
    env = gym.make("Trade-Sequential-v0", df=FRAMES["one"], max_episode_steps=3, **SMALL)
    env.reset(seed=0)
    for action in (2, 0, 1):
        env.step(action)
    assert env.unwrapped.history()["action"].tolist() == [pd.NA, 2, 0, 1]
    env.reset()
    assert len(env.unwrapped.history()) == 1 and len(env.unwrapped.all_fills()) == 0


CALLS = ("history", "all_fills", "trades", "render_history")


def test_before_the_first_reset_and_without_a_lane():
    for call in (*CALLS, "fills"):
        with pytest.raises(RuntimeError, match="before the first reset"):
            getattr(make(), call)()
    for call in CALLS:
        with pytest.raises(RuntimeError, match="before the first reset"):
            getattr(make_vector(num_envs=2, record_lane=1), call)()
        env = make_vector(num_envs=2)
        env.reset(seed=0)
        with pytest.raises(RuntimeError, match="record_lane=0"):
            getattr(env, call)()
    for lane in (2, -1, 0.5, "all"):
        with pytest.raises(ValueError, match="record_lane"):
            make_vector(num_envs=2, record_lane=lane)
