"""The reference ledger's one-step rollouts, against numbers worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from tests.hand_ledgers import LONG, QUIET, SHORT, ledger, mirrored
from tests.reference_brackets import HOLD, Bracket

RISING = [(100, 101, 100, 101), (101, 103, 101, 102), (102, 104, 102, 104), (104, 104, 104, 104)]


@pytest.mark.parametrize(
    ("side", "cash", "close", "price", "equity"),
    [
        (1, 1010, True, "102.96", "1029.6"),  # 10 from 101, sold at 104 * 0.99
        (1, 1010, False, "104", "1040"),  # marked
        (-1, 990, True, "96.96", "1010.4"),  # 10 from 99, bought at 96 * 1.01
        (-1, 990, False, "96", "1020"),
    ],
)
def test_a_rollout_is_closed_at_its_last_close(side, cash, close, price, equity):
    drawn = []

    def slip(step, slot):
        drawn.append((step, slot))
        return Fraction(1, 100)

    bars = RISING if side > 0 else [mirrored(bar) for bar in RISING]
    account = ledger(bars, cash, slip, leverage=1, rollout_steps=3, close_at_end=close)
    result = account.rollout(Bracket(side, "-0.5", "0.5"))
    assert (result.equity, result.terminated) == (Fraction(equity), True)
    assert result.reward == pytest.approx(math.log(Fraction(equity) / cash), rel=1e-14)
    assert account.decision == 3
    assert (0, 1) in drawn
    if close:
        last = result.fills[1]
        assert (last.bar, last.price, last.reason) == (3, Fraction(price), "rollout_end")
        assert (result.exit_reason, result.position, result.steps_held) == ("rollout_end", 0, 0)
        assert drawn[-1] == (2, 3)
    else:
        assert (result.exit_reason, result.position, result.steps_held) == ("", 10 * side, 3)
        assert result.stop_price == (Fraction("50.5") if side > 0 else Fraction("148.5"))
        assert {slot for _, slot in drawn} == {1}


def test_a_rollout_ends_when_flat_and_at_the_end_of_the_data():
    account = ledger([QUIET, (100, 104, 94, 100), QUIET], fee="0.001", leverage=1)
    result = account.rollout(LONG)
    assert (result.exit_reason, account.decision) == ("stop_loss", 2)
    size = Fraction(1000) / Fraction("100.1")
    assert result.fees == size * Fraction("0.195")  # of 100 and of 95
    assert [fill.bar for fill in result.fills] == [1, 2]
    account = ledger([QUIET, QUIET])
    result = account.rollout(HOLD)
    assert (result.fills, result.reward, account.decision) == ([], 0, 1)
    assert result.terminated
    account = ledger([QUIET, QUIET])
    assert account.rollout(SHORT).exit_reason == "rollout_end"
    assert account.decision == 2
    account = ledger([QUIET, QUIET, QUIET])
    account.last_decision = 2
    assert account.rollout(LONG).fills[-1].bar == 2


def test_a_bankrupt_rollout_is_closed():
    """100 units from 100 at 98 leave 800, below nine tenths of the cash: two steps early."""
    for side in (1, -1):
        bar = (100, 100, 98, 98)
        account = ledger(
            [bar if side > 0 else mirrored(bar)] + [QUIET] * 2,
            slippage="0", rollout_steps=3, bankrupt_threshold="0.9",
        )  # fmt: skip
        result = account.rollout(LONG if side > 0 else SHORT)
        assert (result.equity, result.position, len(result.fills)) == (800, 0, 2)
        assert (result.exit_reason, account.decision) == ("rollout_end", 1)
        assert result.reward == pytest.approx(math.log(0.8))
