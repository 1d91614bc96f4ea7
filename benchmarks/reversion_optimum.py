"""The true optimum of the learnable markets of `gym_trade.reversion`, costs included.

**The problem.** ``Trade-Sequential-v0`` in spot with levels 0 and 1, a decision a bar, filled at
the next open, reward log return. What is observed tells of the future no more than the belief b
does, the Kalman filter's mean of the deviation (see `gym_trade.reversion`; where it is shown, the
deviation itself), so that the best policy over all histories is one on (b, position held). An
exposure of 1 is all of the equity, so that log equity moves by the log price, linear in normal
variables: only means matter. From the fills' rules, with fee f and slippage s, entering costs
exactly log(1+f) + log(1+s) and leaving -log(1-f) - log(1-s); through the gap between decision and
fill the *old* position is held. What is left is the switching problem that `switching` solves.

**Between 0 and 1.** Levels in between, and continuous exposure in [0, 1], can gain more by at most
`Optimum.between`. Let z be a log move and w an exposure. log(1 + w (e^z - 1)) is at most
w z + z^2/8, since its second derivative in z is p (1 - p) with p the exposure after the move; for
the same reason a move changes the exposure by at most |z|/4. Buying from w to v costs at least
(v - w) k/(1+k) with k = (1+s)(1+f) - 1, selling at least (w - v) k' with k' = 1 - (1-s)(1-f). With
rewards and costs thus linear in the exposure held, a policy's reward is the mean over u, uniform in
[0, 1], of those of the policies that hold 1 where its exposure is above u and else 0, of which none
has more than the gain at the costs k/(1+k) and k'. Those are below `costs`, but nobody enters, or
leaves, more than every other time. Per decision, therefore, with y the move and g the gap:
(entry - k/(1+k) + leave - k')/2 + (E y^2 + E g^2)/8 + max(k, k') (E|y| + E|g|)/4
+ E|y| gap variance/8. This is proven, and not tight.

**Finite periods.** The best expected total of T decisions, flat at first and the belief in its
stationary law, is within one entry's cost below and one exit's above T times the gain.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.switching import Bounded, Switching, solve
from gym_trade import SequentialConfig, TradeConfig
from gym_trade.reversion import MODELS, Reversion

PREFIX = "reversion_"
DEFAULT_FEE = 0.0004
HIGHEST_COST = 0.1


@dataclass(frozen=True)
class Optimum:
    """What the best policy earns, and which it is; growth is mean log return a decision.

    Attributes:
        kind: The market.
        fee: On traded notional.
        slippage: Adverse, at every fill.
        gain: Growth of the optimal policy with exposures 0 and 1.
        gain_range: Proven bounds of it.
        between: Exposures between 0 and 1 gain no more than this above the upper bound.
        enter: Go long where the belief is below.
        leave: Go flat where it is above.
        buy_and_hold: Growth of the market itself.
        policy: The policy's name for ``data_tools``.
    """

    kind: str
    fee: float
    slippage: float
    gain: float
    gain_range: tuple[float, float]
    between: float
    enter: float
    leave: float
    buy_and_hold: float
    policy: str

    def total(self, decisions: int) -> tuple[float, float]:
        """Bounds of the best expected sum of rewards over a period; see the module."""
        low, high = self.gain_range
        model = MODELS[self.kind]
        entry, leave = costs(self.fee, self.slippage)
        return decisions * low - entry, decisions * high + leave + 0.5 * model.gap_variance


def costs(fee: float, slippage: float) -> tuple[float, float]:
    """Log equity lost by going from exposure 0 to 1, and back."""
    entry = math.log1p(fee) + math.log1p(slippage)
    return entry, -math.log1p(-fee) - math.log1p(-slippage)


def kind_of(name: str) -> str:
    """A market of `gym_trade.reversion`, named with or without ``synthetic:reversion_``.

    Raises:
        ValueError: There is none.
    """
    kind = PREFIX + name.removeprefix("synthetic:").removeprefix(PREFIX)
    if kind not in MODELS:
        known = ", ".join(known.removeprefix(PREFIX) for known in MODELS)
        raise ValueError(f"task {name!r} has no known optimum. Expected one of {known}.")
    return kind


def switching_problem(model: Reversion, entry: float, leave: float) -> Switching:
    """The problem that a market poses at some costs."""
    belief = model.belief()
    return Switching(
        decay=model.decay, innovation=belief.innovation, slope=1.0 - model.decay,
        drift_cost=0.5 * model.move_variance, gap_cost=0.5 * model.gap_variance,
        entry=entry, leave=leave,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def bounded(model: Reversion, entry: float, leave: float) -> Bounded | None:
    """The solution at some costs; None where nobody trades, or so rarely that it has no digits."""
    if model.deviation == 0.0:
        return None
    try:
        with np.errstate(all="ignore"):  # what comes of a singular equation is looked at
            found = solve(switching_problem(model, entry, leave))
    except (RuntimeError, np.linalg.LinAlgError):
        return None
    return found if np.isfinite([found.gain, *found.gain_range]).all() else None


def gain_without_costs(model: Reversion) -> float:
    """The gain where trading is free: E[max(m, 0)], m being the mean reward by the belief."""
    mean = -0.5 * (model.move_variance + model.gap_variance)
    deviation = (1.0 - model.decay) * model.belief().spread
    if deviation == 0.0:
        return 0.0
    ratio = mean / deviation
    density = math.exp(-0.5 * ratio**2) / math.sqrt(2.0 * math.pi)
    return mean * float(ndtr(ratio)) + deviation * density


def highest_gain(model: Reversion, entry: float, leave: float) -> float:
    """An upper bound of the gain; that without costs where no better one can be had."""
    found = bounded(model, entry, leave)
    free = gain_without_costs(model)
    return free if found is None else min(free, found.gain_range[1])


def _mean_size(mean: float, variance: float) -> float:
    """E|z| of a normal variable, from above."""
    return math.sqrt(mean**2 + variance)


def _between(model: Reversion, fee: float, slippage: float) -> float:
    """See `Optimum.between`."""
    bought, sold = (1.0 + slippage) * (1.0 + fee) - 1.0, 1.0 - (1.0 - slippage) * (1.0 - fee)
    entry, leave = costs(fee, slippage)
    saved = 0.5 * (entry - bought / (1.0 + bought) + leave - sold)
    gap, variance = model.gap_variance, model.move_variance
    # unconditionally the deviation's change has variance 2 (1 - decay) deviation^2
    total = variance + 2.0 * (1.0 - model.decay) * model.deviation**2
    move_size, gap_size = _mean_size(0.5 * variance, total), _mean_size(0.5 * gap, gap)
    drift = max(bought, sold) * (move_size + gap_size) / 4.0
    return saved + (move_size**2 + gap_size**2) / 8.0 + drift + move_size * gap / 8.0


def optimum(task: str, fee: float = DEFAULT_FEE, slippage: float = 0.0) -> Optimum:
    """The optimum of a market of `gym_trade.reversion`.

    Args:
        task: Its name; see `kind_of`.
        fee: On traded notional, in [0, 0.1].
        slippage: Fixed, adverse, in [0, 0.1].

    Raises:
        ValueError: An argument is out of range.
    """
    kind = kind_of(task)
    for name, value in (("fee", fee), ("slippage", slippage)):
        if not 0.0 <= value <= HIGHEST_COST:
            raise ValueError(f"{name}={value}: expected a fraction from 0 to {HIGHEST_COST}.")
    return optimum_of(MODELS[kind], fee, slippage, kind)


def optimum_of(model: Reversion, fee: float, slippage: float, kind: str = "") -> Optimum:
    """As `optimum`, of any parameters."""
    entry, leave = costs(fee, slippage)
    found = bounded(model, entry, leave)
    hold = -0.5 * (model.move_variance + model.gap_variance)
    high = highest_gain(model, entry, leave)
    between = _between(model, fee, slippage)
    if found is None:
        never = -math.inf
        return Optimum(kind, fee, slippage, 0.0, (0.0, high), between, never, never, hold, "flat")
    (enter, out), belief = found.thresholds, model.belief()
    policy = (
        f"filtered-reversion:enter={enter!r},leave={out!r},gain={belief.gain!r},"
        f"memory={belief.memory!r},drift={belief.drift!r}"
    )
    gains = (max(found.gain_range[0], 0.0), high)
    return Optimum(kind, fee, slippage, found.gain, gains, between, enter, out, hold, policy)


def optimum_in(task: str, config: TradeConfig) -> Optimum:
    """The optimum in an environment.

    Args:
        task: The market's name.
        config: The environment's configuration.

    Raises:
        ValueError: The environment is one whose optimum is not computed.
    """
    kind = kind_of(task)
    if not isinstance(config, SequentialConfig):
        raise ValueError("the optimum is that of Trade-Sequential-v0: brackets have another.")
    wanted: dict[str, Any] = {
        "leverage": 1, "fill_at": "next_open", "slippage_model": "fixed", "reward": "log_return",
        "funding_rate": None, "lot_size": 0, "min_notional": 0,
    }  # fmt: skip
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(f"the optimum is known for {name}={value!r} only.")
    levels = (0.0, 1.0) if config.continuous else config.levels
    if config.shorts or not {0.0, 1.0} <= set(levels) or min(levels) < 0.0:
        raise ValueError("the optimum is known without shorts, with the levels 0 and 1.")
    if config.execute_on not in (None, "1hour"):
        raise ValueError("the optimum is known for a decision every bar only (execute_on=1hour).")
    return optimum(kind, config.transaction_fee, config.slippage)
