"""The optimum of the learnable markets: limits, rules of the account, simulation, command."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import optimum_check
from benchmarks.optimum import main
from benchmarks.optimum_check import check, growth
from benchmarks.reversion_optimum import (
    costs,
    gain_without_costs,
    kind_of,
    optimum,
    optimum_in,
    optimum_of,
)
from data_tools.policies import make_policy
from gym_trade import Market, SequentialConfig, SLTPConfig, VectorTradeEnv
from gym_trade.reversion import DEVIATION_COLUMN, KINDS, MODELS, simulate

EASY = MODELS["reversion_easy"]
MARKETS = 6


@pytest.fixture(scope="module")
def markets():
    return [Market(simulate(EASY, 30_000, 100 + number).frame) for number in range(MARKETS)]


# --- limits ------------------------------------------------------------------------------


def test_a_martingale_has_no_better_policy_than_no_position():
    found = optimum_of(replace(EASY, deviation=0.0), 4e-4, 0.0)
    assert (found.gain, found.gain_range, found.policy) == (0.0, (0.0, 0.0), "flat")
    weak = optimum_of(replace(EASY, deviation=1e-5), 4e-4, 0.0)
    assert 0.0 <= weak.gain_range[0] <= weak.gain_range[1] < 1e-7


def test_costs_that_nobody_would_pay():
    found = optimum("hard", 0.1)
    low, high = found.gain_range
    assert low == 0.0 <= high <= gain_without_costs(MODELS["reversion_hard"])
    assert found.gain < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_without_costs_it_is_the_mean_of_the_positive_part(kind):
    found = optimum(kind, 0.0)
    assert found.gain == pytest.approx(gain_without_costs(MODELS[kind]), rel=1e-9)
    mean = MODELS[kind].belief().spread * np.random.default_rng(0).standard_normal(10**6)
    reward = -0.5 * MODELS[kind].volatility ** 2 - (1.0 - MODELS[kind].decay) * mean
    assert np.maximum(reward, 0.0).mean() == pytest.approx(found.gain, rel=5e-3)


def test_it_falls_with_costs_and_with_what_is_hidden():
    easy, hard = (
        [optimum(task, fee) for fee in (0.0, 5e-4, 1e-3, 2.5e-3)] for task in ("easy", "hard")
    )
    for found in (easy, hard):
        assert all(more.gain > less.gain for more, less in itertools.pairwise(found))
    assert optimum("easy").gain > 1.5 * optimum("medium").gain > 0.0
    assert optimum("medium").gain > 3.0 * optimum("hard").gain
    assert optimum("easy", 4e-4, 1e-4).gain < optimum("easy").gain
    assert optimum("easy").gain > 100 * abs(optimum("easy").buy_and_hold)
    for found in easy + hard:
        low, high = found.gain_range
        assert low <= found.gain <= high and high - low < 5e-3 * found.gain + 1e-12


def test_names():
    assert {kind_of(x) for x in ("easy", "reversion_easy", "synthetic:reversion_easy")} == {
        "reversion_easy"
    }
    with pytest.raises(ValueError, match="task 'martingale' has no known optimum"):
        optimum("martingale")
    with pytest.raises(ValueError, match=r"fee=-0\.1: expected a fraction from 0 to 0\.1"):
        optimum("easy", -0.1)
    with pytest.raises(ValueError, match="slippage=nan"):
        optimum("easy", 0.0, math.nan)


# --- the account's rules -----------------------------------------------------------------


def test_costs_are_what_the_account_pays(markets):
    """Enter, hold, leave: log equity moves by the log price less exactly the costs."""
    fee, slippage = 0.003, 0.002
    env = VectorTradeEnv(
        df=markets[0], num_envs=1, action_levels=[0, 1], transaction_fee=fee, slippage=slippage,
        random_start=False, autoreset_mode="Disabled",
    )  # fmt: skip
    env.reset(seed=0)
    first = int(env.decision_index[0])
    rewards = [float(env.step(np.array([action]))[1][0]) for action in (1, 1, 0, 0)]
    log = np.log(markets[0].bars[first + 1 : first + 5])
    opens, closes = log[:, 0], log[:, 3]
    entry, leave = costs(fee, slippage)
    expected = [
        closes[0] - opens[0] - entry, closes[1] - closes[0], opens[2] - closes[1] - leave, 0.0,
    ]  # fmt: skip
    assert rewards == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("change, message", [
    ({"leverage": 3}, "leverage=1 only"), ({"fill_at": "close"}, "fill_at='next_open'"),
    ({"slippage_model": "uniform"}, "slippage_model"), ({"reward": "pnl"}, "reward='log_return'"),
    ({"allow_short": True, "action_levels": [-1, 0, 1]}, "without shorts"),
    ({"action_levels": [0, 0.5]}, "levels 0 and 1"), ({"execute_on": "2hour"}, "every bar"),
    ({"lot_size": 0.1}, "lot_size"),
])  # fmt: skip
def test_environments_with_another_optimum_are_refused(change, message):
    arguments = {"action_levels": [0, 1]} | change
    with pytest.raises(ValueError, match=message):
        optimum_in("easy", SequentialConfig(**arguments))


def test_environments_whose_optimum_it_is():
    for arguments in ({"action_levels": [0, 1]}, {}, {"action_type": "continuous"}):
        config = SequentialConfig(transaction_fee=1e-3, slippage=2e-4, **arguments)
        assert optimum_in("synthetic:reversion_easy", config) == optimum("easy", 1e-3, 2e-4)
    with pytest.raises(ValueError, match="brackets"):
        optimum_in("easy", SLTPConfig())


# --- simulation --------------------------------------------------------------------------


def test_the_environment_gives_what_the_recursion_says_and_no_rival_more(monkeypatch):
    monkeypatch.setattr(optimum_check, "BARS", 30_000)
    monkeypatch.setattr(optimum_check, "STEPS", 1_000)
    found = optimum("easy")
    checked = check(found, MARKETS, 500)
    assert checked.agrees, checked.text
    optimal = checked.growths["optimal"]
    assert abs(optimal.mean() - found.gain) < 0.06 * found.gain
    others = [name for name in checked.growths if name != "optimal"]
    assert len(others) >= 10
    for name in others:
        assert checked.growths[name].mean() < optimal.mean() + 0.01 * found.gain, name
    assert "is attained" in checked.text and "no other policy is above" in checked.text


def test_a_wrong_optimum_does_not_pass_the_check(monkeypatch):
    monkeypatch.setattr(optimum_check, "BARS", 30_000)
    monkeypatch.setattr(optimum_check, "rivals", lambda found: {"better": optimum("easy").policy})
    right = optimum("easy")
    wrong = replace(right, gain_range=(1.2 * right.gain, 1.2 * right.gain))
    assert not check(wrong, 4, 500).agrees
    dear = optimum("easy", 0.005)  # its band is far too wide for the usual fee
    worse = replace(right, policy=dear.policy, gain_range=right.gain_range)
    checked = check(worse, 4, 500)
    assert not checked.agrees and "SURPASSED by better" in checked.text


def test_hidden_deviations_too(monkeypatch):
    monkeypatch.setattr(optimum_check, "STEPS", 1_000)
    for kind in KINDS[1:]:
        found = optimum(kind, 1e-3, 1e-4)
        grown = np.array([
            growth(
                found.policy, Market(simulate(MODELS[kind], 30_000, seed).frame),
                1e-3, 1e-4, 64 * seed,
            )
            for seed in range(900, 900 + MARKETS)
        ])  # fmt: skip
        error = grown.std(ddof=1) / math.sqrt(MARKETS)
        assert abs(grown.mean() - found.gain) < 5 * error + sum(costs(1e-3, 1e-4)) / 1_000


def test_costs_that_ruin_random_trading_do_not_stop_the_check(monkeypatch):
    monkeypatch.setattr(optimum_check, "BARS", 3_000)
    checked = check(optimum("easy", 0.1), 4, 500)
    assert checked.growths["random"].mean() < -1e-3


def test_exposures_between_gain_no_more_than_their_bound(markets):
    """A smooth policy in the continuous environment, beside the optimal one there."""
    found = optimum("easy", 0.0)
    grown = {"optimal": [], "smooth": []}
    for number, market in enumerate(markets):
        for name, totals in grown.items():
            env = VectorTradeEnv(
                df=market, num_envs=64, autoreset_mode="Disabled", observation="index",
                action_type="continuous", transaction_fee=0.0, rebalance_threshold=0.0,
                episode_steps=500,
            )  # fmt: skip
            policy = make_policy(found.policy, env)
            env.reset(seed=64 * number)
            shown, total = market.extras[DEVIATION_COLUMN], 0.0
            for _ in range(500):
                # the growth-optimal share is the mean over the variance, cut to [0, 1]
                mean = -(1.0 - EASY.decay) * shown[env.decision_index]
                share = np.clip(mean / EASY.bridge_variance, 0.0, 1.0).astype(np.float32)[:, None]
                action = share if name == "smooth" else policy.act()
                total += float(env.step(action)[1].sum())
            totals.append(total / (64 * 500))
    excess = np.array(grown["smooth"]) - np.array(grown["optimal"])
    assert excess.mean() < found.between
    assert 0.0 < found.between < 0.02 * found.gain


def test_finite_periods():
    found = optimum("easy")
    low, high = found.total(1000)
    entry, leave = costs(found.fee, found.slippage)
    assert low < 1000 * found.gain < high
    assert high - low < entry + leave + 1e-5


# --- the command -------------------------------------------------------------------------


def test_the_command_prints_the_optimum_and_the_policy(capsys):
    assert main(["--task", "medium", "--fee", "0.001", "--markets", "0", "--sweep"]) == 0
    said = capsys.readouterr().out
    assert "reversion_medium: fee 10 bp" in said and "proven" in said
    assert optimum("medium", 0.001).policy in said
    assert said.count("\n| ") == 5


@pytest.mark.parametrize("flags, message", [
    (["--task", "martingale"], "no known optimum"), (["--fee", "2"], "fee=2.0"),
    (["--markets", "2"], "at least 4"), (["--decisions", "0"], "--decisions 0"),
    (["--seed", "-1"], "--seed -1"), (["--trees"], "--trees"),
])  # fmt: skip
def test_bad_flags_are_one_line(flags, message, capsys):
    try:
        code = main(flags)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
