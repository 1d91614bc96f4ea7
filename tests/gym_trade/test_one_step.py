"""Trade-OneStep-v0: one bracket order, held to its end, against Trade-SLTP-v0 and by itself."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

import gym_trade
from gym_trade.types import REWARDS
from tests import markets, slow_market
from tests.rollouts import CRASH, FRAMES, SMALL, assert_same, flat_then, lane_of, scalar, vector

EVERY_ACTION = {"include_close_action": True, "allow_short": True}
NEAR = {"stoploss_levels": (-0.006, -0.04), "takeprofit_levels": (0.008, 0.3)}
FAR = {"stoploss_levels": (-0.5,), "takeprofit_levels": (0.9,)}
WILD = {"leverage": 40, "slippage": 0.003, "slippage_model": "uniform", "bankrupt_threshold": 0.5,
        "initial_cash": (500.0, 5000.0), "funding_rate": 0.002, **NEAR}  # fmt: skip

EQUAL = {
    "spot": {"df": FRAMES["one"], "slippage": 0.001, "rollout_steps": 9, **NEAR, **EVERY_ACTION},
    "wild": {"df": FRAMES, "rollout_steps": 15, "liquidation_fee": 0.01, **WILD},
    "isolated": {
        **WILD, "df": FRAMES["two"], "rollout_steps": 12, "margin_mode": "isolated",
        "margin_call_threshold": 0.6, "position_fraction": 0.7, "min_notional": 40_000.0,
        "lot_size": 0.1, "reward": "differential_sharpe", "fill_at": "close",
    },
    "custom": {
        "df": FRAMES, "rollout_steps": 11, "reward": slow_market.gain, **NEAR, **EVERY_ACTION,
    },
    "to the end": {
        "df": FRAMES["one"], "rollout_steps": 6, "episode_steps": 20, "reward": "drawdown_penalty",
        "leverage": 20, "execute_on": "15min", "observation": "flat", **FAR,
    },
    "index": {"df": FRAMES, "rollout_steps": 5, "observation": "index", "reward": "pnl", **NEAR,
              "include_hold_action": False, "slippage": 0.002, "slippage_model": "uniform"},
}  # fmt: skip


def pair(name, **changes):
    """A one-step environment that leaves its position open, and the SLTP one beside it."""
    arguments = EQUAL[name] | changes
    frame, steps = arguments.pop("df"), arguments.pop("rollout_steps")
    rolled = scalar(frame, "OneStep", close_at_end=False, rollout_steps=steps, **arguments)
    stepped = scalar(frame, "SLTP", **(arguments | {"episode_steps": steps}))
    return rolled, stepped


def roll(env, action, wait):
    """Take the action, then hold until flat or the end; rewards are summed in their order."""
    total, asked = 0.0, action
    while True:
        observation, reward, terminated, truncated, info = env.step(asked)
        total += reward
        if terminated or truncated or info["position"] == 0.0:
            return observation, total, info
        asked = wait


def assert_same_account(rolled, stepped):
    """Every number of the two lanes, except for what OneStep has ended."""
    left, right = (lane_of(env.engine) for env in (rolled, stepped))
    assert left.pop("ended") == 1
    right.pop("ended")
    assert left == right
    assert rolled.engine.metrics(0) == stepped.engine.metrics(0)
    for name in ("all_fills", "trades"):
        pd.testing.assert_frame_equal(getattr(rolled, name)(), getattr(stepped, name)())
    pd.testing.assert_frame_equal(rolled.fills(), stepped.all_fills())
    histories = [env.history().drop(columns="action") for env in (rolled, stepped)]
    pd.testing.assert_frame_equal(*histories)
    given = rolled.history()["action"].isna().tolist()
    assert given == [True, False, *[True] * (left["steps"] - 1)]


@pytest.mark.parametrize("name", EQUAL)
def test_it_equals_sltp_given_the_action_that_then_holds(name):
    """In every float: over seeds, over the episodes that follow a seed, and over all actions."""
    rolled, stepped = pair(name)
    wait, seen = 0, set()
    if not EQUAL[name].get("include_hold_action", True):
        wait = None
    for number in range(60):
        seed = number // 3 if number % 3 == 0 else None
        (left, start), (right, begun) = (env.reset(seed=seed) for env in (rolled, stepped))
        assert_same(left, right)
        assert_same(start, begun)
        action = number % rolled.action_space.n
        # without a hold action, the same direction again is what is ignored
        expected = roll(stepped, action, action if wait is None else wait)
        observation, reward, terminated, truncated, info = rolled.step(action)
        assert (terminated, truncated) == (True, False)
        assert_same(observation, expected[0])
        assert reward == expected[1]
        assert info.pop("metrics") == stepped.engine.metrics(0)
        expected[2].pop("metrics", None)
        assert_same(info, expected[2])
        assert_same_account(rolled, stepped)
        seen |= set(rolled.fills()["reason"])
        seen |= {"open"} if info["position"] else set()
        seen |= {"refused"} if info["refused_orders"] else set()
    assert seen >= {"agent", "open"}
    assert name == "to the end" or seen >= {"stop_loss", "take_profit"}
    if name in ("wild", "to the end"):
        assert "liquidation" in seen
    if name == "isolated":
        assert seen & {"liquidation", "margin_call"} and "refused" in seen


def steps_of(env):
    """Decision steps of the rollout that the environment has just taken."""
    return len(env.history()) - 1


# --- the end of a rollout ---------------------------------------------------------------


@pytest.mark.parametrize("leverage", [1, 3])
def test_closing_at_the_end_costs_exactly_a_fee_and_slippage(leverage):
    arguments = {"leverage": leverage, "allow_short": True, "rollout_steps": 4, "slippage": 0.002,
                 "transaction_fee": 0.0015, **NEAR}  # fmt: skip
    closing, leaving = (scalar(kind="OneStep", close_at_end=c, **arguments) for c in (True, False))
    closed = 0
    for seed in range(40):
        action = seed % closing.action_space.n
        closing.reset(seed=seed), leaving.reset(seed=seed)
        info, other = closing.step(action)[4], leaving.step(action)[4]
        if other["position"] == 0.0:
            assert_same(info, other)
            continue
        closed += 1
        size, side, price = abs(other["position"]), np.sign(other["position"]), other["price"]
        slipped = price * (1.0 - side * 0.002)
        cost = size * price * 0.002 + size * slipped * 0.0015
        gap = other["portfolio_value"] - info["portfolio_value"]
        assert gap == pytest.approx(cost, rel=1e-9)
        assert info["fees_paid"] - other["fees_paid"] == pytest.approx(size * slipped * 0.0015)
        assert info["slippage_cost"] - other["slippage_cost"] == pytest.approx(size * price * 0.002)
        assert info["cash"] == info["portfolio_value"]
        assert (info["position"], info["entry_price"], info["n_trades"]) == (0.0, 0.0, 1)
        assert (info["exit_reason"], other["exit_reason"]) == ("rollout_end", "")
        last = closing.fills().iloc[-1]
        bar = leaving.engine.tables.bar_end[leaving.engine.lanes[0].decision] - 1
        assert (last["reason"], last["price"], last["bar"]) == ("rollout_end", slipped, bar)
        assert info["action_mask"].tolist() != other["action_mask"].tolist()
    assert closed > 10


def test_the_closing_slippage_is_drawn_like_any_other():
    env = scalar(markets.flat_bars(), "OneStep", rollout_steps=2, slippage=0.01,
                 slippage_model="uniform")  # fmt: skip
    draws = []
    for seed in range(50):
        env.reset(seed=seed)
        env.step(1)
        prices = env.fills()["price"] / 100.0 - 1.0
        draws += [prices.iloc[0], -prices.iloc[1]]
    assert 0.0 < min(draws) < 0.002 and 0.008 < max(draws) < 0.01
    assert len(set(np.round(draws, 12))) == 100


@pytest.mark.parametrize("price, reason", [(97.0, "stop_loss"), (106.0, "take_profit")])
def test_it_ends_early_when_it_is_flat(price, reason):
    env = scalar(flat_then(160, price, at=42), "OneStep", rollout_steps=20, **CRASH)
    env.reset(seed=0)
    *_, terminated, truncated, info = env.step(1)
    assert (steps_of(env), info["exit_reason"], terminated, truncated) == (3, reason, True, False)
    assert info["timestamp"] == "2023-01-02T00:45:00+00:00"
    assert list(env.fills()["reason"]) == ["agent", reason]
    env.reset(seed=0)
    env.step(0)
    assert steps_of(env) == 1  # hold leaves nothing to wait for


@pytest.mark.parametrize("replace", [False, True])
def test_a_liquidation_at_an_open_ends_it_with_money_left(replace):
    """The order is given once: what follows holds, also where it would open anew."""
    env = scalar(
        flat_then(160, 80.0, at=40), "OneStep", rollout_steps=9, leverage=10, position_fraction=0.3,
        margin_mode="isolated", replace_brackets=replace, **CRASH | FAR,
    )  # fmt: skip
    env.reset(seed=0)
    *_, info = env.step(1)
    assert (steps_of(env), info["exit_reason"], info["position"]) == (3, "liquidation", 0.0)
    assert list(env.fills()["reason"]) == ["agent", "liquidation"]
    assert info["cash"] == pytest.approx(7000.0)


@pytest.mark.parametrize("rollout, episode, length", [
    (24, None, 24), (24, 5, 5), (5, 24, 5), (5, 5, 5), (1, None, 1), (24, 1, 1),
])  # fmt: skip
def test_episode_steps_can_only_shorten_it(rollout, episode, length):
    env = scalar(markets.flat_bars(), "OneStep", rollout_steps=rollout, episode_steps=episode)
    env.reset(seed=0)
    *_, terminated, truncated, info = env.step(1)
    assert (steps_of(env), info["exit_reason"]) == (length, "rollout_end")
    assert (terminated, truncated) == (True, False)
    assert env.config.longest_episode == length


def test_max_episode_steps_of_make_vec_shortens_it_too():
    env = gym.make_vec("Trade-OneStep-v0", num_envs=2, df=markets.flat_bars(), **SMALL,
                       rollout_steps=9, max_episode_steps=4)  # fmt: skip
    env.reset(seed=0)
    assert env.step(np.ones(2, int))[2].all()
    assert list(env.unwrapped.account()["steps"]) == [4, 4]


def test_data_shorter_than_a_rollout_are_refused():
    """One decision more or less decides; as many as fit exactly leave one start."""
    frame = markets.flat_bars(60)  # decisions at 0:10, ..., 1:00
    for cls in (gym_trade.OneStepEnv, gym_trade.VectorOneStepEnv):
        with pytest.raises(ValueError, match=r"11 are needed.*rollout_steps=11, episode_steps="):
            cls(df=frame, rollout_steps=11, **SMALL)
        cls(df=frame, rollout_steps=11, episode_steps=10, **SMALL)
    env = scalar(frame, "OneStep", rollout_steps=10)
    for seed in range(3):
        assert env.reset(seed=seed)[1]["timestamp"] == "2023-01-02T00:10:00+00:00"
        assert env.step(1)[4]["timestamp"] == "2023-01-02T01:00:00+00:00"


def test_every_reset_is_a_new_start():
    env = scalar(kind="OneStep", rollout_steps=5)
    starts = [env.reset(seed=0)[1]["timestamp"]]
    env.step(1)
    with pytest.raises(RuntimeError, match="after the episode's end"):
        env.step(0)
    starts += [env.reset()[1]["timestamp"] for _ in range(30)]
    assert len(set(starts)) > 15
    assert env.reset(seed=0)[1]["timestamp"] == starts[0]
    for start in starts[1:]:
        assert env.reset()[1]["timestamp"] == start


# --- rewards ----------------------------------------------------------------------------


@pytest.mark.parametrize("close_at_end", [True, False])
@pytest.mark.parametrize("reward", REWARDS)
def test_the_reward_is_the_sum_over_its_decision_steps(reward, close_at_end):
    """The history holds each of them, of which two kinds telescope."""
    env = scalar(kind="OneStep", reward=reward, rollout_steps=8, leverage=3, slippage=0.001,
                 close_at_end=close_at_end, **NEAR)  # fmt: skip
    for seed in range(20):
        cash = env.reset(seed=seed)[1]["portfolio_value"]
        _, total, *_, info = env.step(seed % env.action_space.n)
        rewards = env.history()["reward"].to_list()
        assert rewards[0] == 0.0 and total == np.cumsum(rewards)[-1]
        growth = info["portfolio_value"] / cash
        if reward == "log_return":
            assert total == pytest.approx(np.log(growth), abs=1e-12)
        if reward == "pnl":
            assert total == pytest.approx(growth - 1.0, abs=1e-12)


def test_a_callable_is_called_once_a_decision_step_with_those_still_rolling():
    sizes = []

    def reward(previous_equity, equity, position):
        sizes.append(len(equity))
        assert len(position) == len(previous_equity) == len(equity)
        return equity - previous_equity + 1.0

    env = vector(FRAMES["one"], "OneStep", num_envs=8, rollout_steps=9, reward=reward, **NEAR)
    env.reset(seed=0)
    for actions in (np.arange(8) % 5, np.ones(8, int)):
        sizes.clear()
        before = env.portfolio_value
        rewards = env.step(actions)[1]
        steps = env.account()["steps"]
        assert sizes == [int((steps > step).sum()) for step in range(steps.max())]
        assert len(set(sizes)) > 1
        gains = env.portfolio_value - before
        np.testing.assert_allclose(rewards, gains + steps, rtol=1e-9)
        sizes.clear()
        assert (env.step(actions)[1] == 0.0).all()  # the reset of NEXT_STEP earns nothing


# --- vector -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_autoreset(mode):
    """Every step is an episode; with NEXT_STEP every other one is a reset."""
    env = vector(FRAMES["one"], "OneStep", num_envs=4, autoreset_mode=mode, rollout_steps=5)
    env.reset(seed=0)
    starts = [env.decision_index]
    for step in range(8):
        over = mode != "NextStep" or step % 2 == 0
        observation, rewards, terminated, truncated, info = env.step(np.array([0, 1, 2, 3]))
        assert (terminated == over).all() and not truncated.any()
        assert ("metrics" in info) == over
        if not over:
            assert (rewards == 0.0).all()
            assert (env.account()["steps"] == 0).all()
        if mode == "SameStep":
            assert info["final_info"]["exit_reason"][0] == ""  # lane 0 held
            assert all(final["account_state"][1] == 0.0 for final in info["final_obs"])
            assert (observation["account_state"][:, 0] == 0.0).all()
        if mode == "Disabled":
            with pytest.raises(RuntimeError, match="lane 0 has ended"):
                env.step(np.zeros(4, int))
            env.reset(options={"reset_mask": terminated})
        if mode != "NextStep" or not over:
            starts.append(env.decision_index)
    assert len({tuple(start) for start in starts}) == len(starts)
