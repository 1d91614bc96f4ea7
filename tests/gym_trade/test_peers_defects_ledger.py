"""Fills, exits and costs that simulators of this kind were found to get wrong: a case for each.

Every case is run in each environment that it concerns, scalar and as one lane of a vector. What is
seen, and how episodes begin and end, stands in `test_peers_defects`.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.words import (
    FIRST,
    both_sides,
    bracketed,
    every,
    flat,
    make,
    mirrored,
    stepwise,
    tell,
)

CASH = 10_000.0


def mirror(price, word):
    """A price of the long's case in the short's."""
    return price if word == "long" else 200.0 - price


def only_exit(episode):
    """The one fill that was not the agent's."""
    (fill,) = episode.fills[episode.fills["reason"] != "agent"].itertuples()
    return fill


# --- which bars count -------------------------------------------------------------------


@both_sides
@every
@pytest.mark.parametrize("number", range(5))
def test_a_decision_bar_that_used_only_its_last_sub_bar(kind, batched, word, number):
    """Each minute of a five-minute decision can trigger a stop or a liquidation."""
    frame = mirrored(flat(**{f"low_{FIRST + number}": 89.0}), word)
    told = tell(kind, batched, frame, [word, "hold"], execute_on="5min", leverage=10, stop=-0.05)
    fill = only_exit(told)
    assert (fill.step, fill.bar) == (0, FIRST + number)
    assert fill.reason == ("liquidation" if kind == "Sequential" else "stop_loss")


@both_sides
@every
def test_one_free_bar_before_stops_work(kind, batched, word):
    """The very bar at whose open the order filled."""
    frame = mirrored(flat(low_30=89.0), word)
    told = tell(kind, batched, frame, [word, "hold"], leverage=10, stop=-0.05)
    assert list(told.fills["bar"]) == [FIRST, FIRST]
    assert told.history["position"].iloc[1] == 0.0


@both_sides
@every
def test_gap_bars_replaying_the_last_range(kind, batched, word):
    """The last bar before a closed market fell far; nothing of that happens again after it."""
    frame = mirrored(flat(low_29=80.0), word).drop(index=flat().index[FIRST : FIRST + 10])
    told = tell(kind, batched, frame, [word, "hold", "hold"], leverage=10, stop=-0.05, target=0.1)
    assert list(told.fills["reason"]) == ["agent"]
    assert told.last["portfolio_value"] == CASH


@both_sides
@every
def test_closed_market_bins_traded_at_stale_prices(kind, batched, word):
    """No decision while the market is closed; the order fills at the first open after it."""
    frame = mirrored(flat(at_30=102.0), word).drop(index=flat().index[FIRST : FIRST + 10])
    told = tell(kind, batched, frame, [word, "hold", "hold"])
    (fill,) = told.fills.itertuples()
    assert fill.price == mirror(102.0, word)
    assert fill.timestamp.strftime("%H:%M") == "00:40"
    times = told.history["timestamp"].dt.strftime("%H:%M").tolist()
    assert times == ["00:30", "00:41", "00:42", "00:43"]


# --- at what price ----------------------------------------------------------------------


@both_sides
@bracketed
def test_a_gapped_stop_filled_at_the_stop(kind, batched, word):
    frame = mirrored(flat(at_33=90.0), word)
    fill = only_exit(tell(kind, batched, frame, [word] + ["hold"] * 5, stop=-0.05))
    assert (fill.reason, fill.bar, fill.price) == ("stop_loss", 33, mirror(90.0, word))


@both_sides
@every
def test_a_deeper_gap_past_liquidation_that_cost_less(kind, batched, word):
    """A long of ten times the equity is gone at 90; where the open is, there it is sold."""
    left = []
    for price in (91.0, 90.3, 90.2, 90.0, 89.0, 60.0):
        told = tell(kind, batched, mirrored(flat(at_33=price), word), [word] + ["hold"] * 5,
                    leverage=10)  # fmt: skip
        assert ("liquidation" in set(told.fills["reason"])) == (price < 91.0)
        left.append(told.last["portfolio_value"])
    assert left == pytest.approx([1000.0, 300.0, 200.0, 0.0, 0.0, 0.0], abs=1e-6)


@both_sides
@every
def test_liquidation_on_close_only(kind, batched, word):
    """A wick below the liquidation price is enough, though the bar closes where it opened."""
    told = tell(kind, batched, mirrored(flat(low_33=80.0), word), [word] + ["hold"] * 5,
                leverage=10)  # fmt: skip
    fill = only_exit(told)
    level = 90_000.0 / 996.0 if word == "long" else 110_000.0 / 1004.0
    assert (fill.reason, fill.bar) == ("liquidation", 33)
    assert fill.price == pytest.approx(level, rel=1e-12)


@both_sides
@bracketed
def test_both_hit_resolved_in_the_agents_favour(kind, batched, word):
    """Stop and target inside one bar: the stop, and the bar is counted as ambiguous."""
    frame = mirrored(flat(low_33=94.0, high_33=111.0), word)
    told = tell(kind, batched, frame, [word] + ["hold"] * 5, stop=-0.05, target=0.1)
    fill = only_exit(told)
    assert (fill.reason, fill.price) == ("stop_loss", pytest.approx(mirror(95.0, word)))
    assert told.env.engine.lanes["ambiguous_bars"].max() == 1


@both_sides
@stepwise
def test_an_agents_close_discarded_because_an_exit_fired_in_the_same_bar(kind, batched, word):
    """The close came first: it fills at the open, and nothing is left for the exit."""
    frame = mirrored(flat(low_32=80.0), word)
    told = tell(kind, batched, frame, [word, "hold", "flat", "hold"], leverage=10, stop=-0.05)
    assert list(told.fills["reason"]) == ["agent", "agent"]
    assert list(told.fills["price"]) == [100.0, 100.0]
    assert told.last["portfolio_value"] == CASH


@both_sides
@stepwise
def test_a_flip_discarded_because_an_exit_fired_in_the_same_bar(kind, batched, word):
    frame = mirrored(flat(low_32=92.0, at_33=92.0), word)
    other = {"long": "short", "short": "long"}[word]
    told = tell(kind, batched, frame, [word, "hold", other, "hold"], leverage=5, stop=-0.05)
    assert list(told.fills["reason"]) == ["agent", "agent"]
    assert told.last["portfolio_value"] == pytest.approx(CASH * (1.0 + 5.0 * 0.08))


@every
def test_float32_prices(kind, batched):
    """Quarters beyond 2**24, where float32 knows even numbers only."""
    first, second = 20_000_001.25, 20_000_003.75
    told = tell(kind, batched, flat(price=first, at_33=second), ["long"] + ["hold"] * 5)
    assert told.fills["price"].tolist() == [first]
    assert told.history["price"].tolist()[::6] == [first, second]
    assert told.last["portfolio_value"] == pytest.approx(CASH * second / first, rel=1e-14)


# --- costs and sizes --------------------------------------------------------------------


@both_sides
@every
def test_fees_not_reserved_so_that_a_full_order_is_unaffordable(kind, batched, word):
    """Afterwards the whole equity is in the position, and the fee is paid."""
    told = tell(kind, batched, flat(), [word, "hold"], transaction_fee=0.01, slippage=0.01)
    (fill,) = told.fills.itertuples()
    side = 1.0 if word == "long" else -1.0
    assert fill.price == pytest.approx(100.0 * (1.0 + 0.01 * side))
    assert fill.position * fill.price == pytest.approx(side * (CASH - fill.fee), rel=1e-12)
    assert fill.fee == pytest.approx(0.01 * abs(fill.quantity) * fill.price, rel=1e-12)
    assert told.env.engine.lanes["refused_orders"].max() == 0


@pytest.mark.parametrize("batched", [False, True])
@both_sides
def test_a_winning_leveraged_position_that_can_never_be_enlarged(batched, word):
    """Its profit is margin: 80% of ten times the equity, 4% up, then all of it."""
    levels = {"action_levels": [-1.0, -0.8, 0.0, 0.8, 1.0], "leverage": 10}
    frame = mirrored(flat(at_32=104.0), word)
    env = make("Sequential", batched, frame, **levels)
    env.reset(seed=0)
    for action in (3, 3, 4) if word == "long" else (1, 1, 0):
        env.step([2, action, 2] if batched else action)
    first, second = env.all_fills()["quantity"].abs()
    assert first == 800.0
    equity = CASH + 800.0 * 4.0
    assert first + second == pytest.approx(10.0 * equity / mirror(104.0, word), rel=1e-12)


@both_sides
@every
def test_repeated_equal_actions_that_churn_fees(kind, batched, word):
    """One fill, however often the same is asked for and wherever the price has gone."""
    frame = flat(at_31=101.0, at_33=97.0, at_35=104.0)
    words = [word] * (1 if kind == "OneStep" else 8) + ["hold"] * 2
    told = tell(kind, batched, frame, words, transaction_fee=0.001, leverage=3)
    assert len(told.fills) == 1
    assert told.history["fees_paid"].iloc[1:].nunique() == 1


@pytest.mark.parametrize("price", [1e-7, 0.3, 1e9])
@both_sides
@stepwise
def test_dust(kind, batched, word, price):
    """A close leaves exactly nothing; a billionth of a coin that is worth money is a position."""
    frame = flat(price=price, at_32=1.1 * price)
    told = tell(kind, batched, frame, [word, "hold", "hold", "flat"] * 3, initial_cash=2.0,
                transaction_fee=0.0003)  # fmt: skip
    held = told.history["position"].to_numpy()
    assert (held[[4, 8, 12]] == 0.0).all()
    assert (np.abs(held[[1, 2, 3]]) * price > 1.9).all()
    move = told.history["portfolio_value"].iloc[3] - told.history["portfolio_value"].iloc[2]
    assert move == pytest.approx(held[2] * 0.1 * price, rel=1e-9)
    assert len(told.fills) == 6


@both_sides
@every
def test_borrow_cost_that_never_accrues(kind, batched, word):
    """Funding on the notional at 08:00: longs pay a positive rate, shorts receive it."""
    told = tell(kind, batched, flat(500), [word] + ["hold"] * 10, start="2023-01-02 07:55",
                leverage=3, funding_rate=0.001)  # fmt: skip
    side = 1.0 if word == "long" else -1.0
    paid = told.history["funding_paid"].tolist()
    assert paid == pytest.approx([0.0] * 6 + [side * 300.0 * 100.0 * 0.001] * 6, rel=1e-12)
    assert told.last["portfolio_value"] == pytest.approx(CASH - side * 30.0, rel=1e-12)


# --- ruin -------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["log_return", "simple_return", "pnl"])
@both_sides
@every
def test_a_wipe_out_with_reward_zero(kind, batched, word, reward):
    """Liquidated in a crash: the reward of that step is the worst there is, and it is the end."""
    frame = mirrored(flat(at_33=50.0), word)
    told = tell(kind, batched, frame, [word] + ["hold"] * 8, leverage=10, reward=reward)
    worst = {"log_return": np.log(1e-6), "simple_return": 1e-6 - 1.0, "pnl": -1.0}[reward]
    assert told.rewards[-1] == pytest.approx(worst, rel=1e-12)
    assert told.last["portfolio_value"] == 0.0
    assert (told.terminated, told.truncated) == (True, False)
    assert len(told.history) == 5


@every
def test_equity_below_zero_with_reward_zero(kind, batched):
    """A short without leverage, the price trebles overnight: the debt is capped, not ignored."""
    told = tell(kind, batched, flat(at_33=300.0), ["short"] + ["hold"] * 8, target=0.5)
    assert told.last["portfolio_value"] == 0.0
    assert told.rewards[-1] == pytest.approx(np.log(1e-6), rel=1e-12)
    assert told.terminated
    assert told.env.engine.lanes["shortfall"].max() == pytest.approx(CASH, rel=1e-12)
