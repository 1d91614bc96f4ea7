"""The optimum of `reversion_optimum` against the environment itself, and beside other policies.

On markets with seeds of their own the optimal policy and others walk through the jitted
``Trade-Sequential-v0``, from the same starts: the optimal one's mean growth must be that of the
recursion, within the interval of chance, and no other may be above it by more than chance. What
differs between policies is judged by their differences market by market.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from benchmarks.markdown import table
from benchmarks.reversion_optimum import Optimum, costs, optimum_of
from data_tools.policies import make_policy
from gym_trade import Market, VectorTradeEnv
from gym_trade.reversion import MODELS, simulate

BARS = 100_000
LANES = 64
STEPS = 1_500
CONFIDENCE = 0.999  # two-sided, of each comparison
FEWEST_MARKETS = 4  # the interval of two or three is as wide as can be
MOST_SEED = 2**31
FACTORS = (0.0, 0.5, 2.0)  # of the optimal thresholds
SHIFTS = (-0.25, 0.25)  # of both thresholds, in deviations of the belief

Growths = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Checked:
    """What came of a check.

    Attributes:
        growths: Policy to its mean reward a decision in each market, (markets,).
        agrees: Whether the optimum is attained and by nobody surpassed, but for chance.
        text: For people.
    """

    growths: dict[str, Growths]
    agrees: bool
    text: str


def growth(policy: str, market: Market, fee: float, slippage: float, seed: int) -> float:
    """A policy's mean reward a decision in a market.

    Args:
        policy: As for ``data_tools``.
        market: Its bars.
        fee: On traded notional.
        slippage: Fixed.
        seed: Of the starts: `LANES` episodes of `STEPS` decisions, flat at first.
    """
    env = VectorTradeEnv(
        df=market, num_envs=LANES, autoreset_mode="Disabled", observation="index",
        action_levels=[0, 1], transaction_fee=fee, slippage=slippage, episode_steps=STEPS,
        bankrupt_threshold=0.0,  # random trading at high fees must get to the end too
    )  # fmt: skip
    actor = make_policy(policy, env, seed=seed)
    env.reset(seed=seed)
    actor.begin(np.ones(LANES, np.bool_))
    total = 0.0
    for _ in range(STEPS):
        total += float(env.step(actor.act())[1].sum())
    return total / (STEPS * LANES)


def rivals(found: Optimum) -> dict[str, str]:
    """Other policies to try: name to what ``data_tools`` calls them."""
    others = {"flat": "flat", "buy-and-hold": "buy-and-hold", "random": "random"}
    if found.policy == "flat":
        return others
    model, spread = MODELS[found.kind], MODELS[found.kind].belief().spread
    for factor in FACTORS:
        others[f"thresholds x {factor:g}"] = _moved(
            found, factor * found.enter, factor * found.leave
        )
    for shift in SHIFTS:
        moved = _moved(found, found.enter + shift * spread, found.leave + shift * spread)
        others[f"thresholds {shift:+g} deviations"] = moved
    if model.shown:
        hidden = optimum_of(replace(model, shown=False), found.fee, found.slippage)
        others["best without the shown deviation"] = hidden.policy
    others["mean-reversion of closes"] = "mean-reversion:window=8,entry=1.0,exit=0.0"
    return others


def _moved(found: Optimum, enter: float, leave: float) -> str:
    """The optimal policy with other thresholds."""
    rest = found.policy.split(",", 2)[2]
    return f"filtered-reversion:enter={enter!r},leave={leave!r},{rest}"


def _margin(values: Growths) -> float:
    """Half the interval of their mean."""
    quantile = student.ppf(0.5 + 0.5 * CONFIDENCE, len(values) - 1)
    return float(quantile * values.std(ddof=1) / math.sqrt(len(values)))


def check(found: Optimum, markets: int, seed: int) -> Checked:
    """Simulate.

    Args:
        found: What the recursion says.
        markets: How many, >= `FEWEST_MARKETS`.
        seed: Of the first market; the others have the next ones.
    """
    named = {"optimal": found.policy, **rivals(found)}
    growths = {name: np.zeros(markets) for name in named}
    for number in range(markets):
        market = Market(simulate(MODELS[found.kind], BARS, seed + number).frame)
        for name, policy in named.items():
            growths[name][number] = growth(
                policy, market, found.fee, found.slippage, LANES * (seed + number)
            )
    optimal = growths["optimal"]
    # an episode begins flat and ends unsold: see `reversion_optimum`, finite periods
    entry, leave = costs(found.fee, found.slippage)
    ends = (entry + leave) / STEPS
    low, high = found.gain_range
    margin = _margin(optimal) + ends
    attained = bool(low - margin <= optimal.mean() <= high + margin)
    rows, surpassed = [], []
    for name, values in growths.items():
        apart = values - optimal
        above = bool(apart.mean() > _margin(apart) + ends + (high - low))
        surpassed += [name] if above else []
        rows.append(
            [name, f"{1e4 * values.mean():.4f}", f"{1e4 * _margin(values):.4f}",
             f"{1e4 * apart.mean():+.4f}", f"{1e4 * _margin(apart):.4f}"]
        )  # fmt: skip
    header = ["policy", "growth, bp", "+-", "less the optimal's", "+-"]
    verdict = "attained" if attained else "NOT attained"
    lines = [
        f"In {markets} simulated markets, {LANES} x {STEPS:,} decisions each "
        f"({100 * CONFIDENCE:g}% intervals):",
        table(header, rows),
        f"The recursion's {1e4 * found.gain:.4f} bp is {verdict} ({1e4 * optimal.mean():.4f} +- "
        f"{1e4 * margin:.4f}); "
        + (f"SURPASSED by {', '.join(surpassed)}." if surpassed else "no other policy is above."),
    ]
    return Checked(growths, attained and not surpassed, "\n".join(lines))
