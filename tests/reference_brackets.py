"""The reference ledger with stops and take-profits: the contract's SLTP and OneStep environments.

An action is `HOLD`, `CLOSE` or a `Bracket`. Sizes, fees, liquidation and the walk's frame are those
of `reference`; here stand what the action does and which of a bar's exits comes first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.reference import AGENT_ORDER, ReferenceLedger
from tests.reference_records import Bar, Exact, Rules, StepResult

ROLLOUT_END = 3  # the slot of the forced close's slippage draw
HOLD, CLOSE = "hold", "close"


@dataclass(frozen=True)
class Bracket(Exact):
    """An order for one side with its stop and target, as fractions of the entry price."""

    side: int
    stop: Fraction  # < 0
    target: Fraction  # > 0


Action = Bracket | str


@dataclass(frozen=True)
class BracketRules(Rules):
    """The further arguments of the bracket environments."""

    position_fraction: Fraction = Fraction(1)
    replace_brackets: bool = False
    lock_until_exit: bool = False
    rollout_steps: int = 24
    close_at_end: bool = True


def action_list(
    stops: Sequence[float], targets: Sequence[float], *, shorts: bool, hold: bool, close: bool
) -> list[Action]:
    """Return the actions in the order of their numbers (section 4's table)."""
    actions: list[Action] = [HOLD] * hold + [CLOSE] * close
    for side in (1, -1) if shorts else (1,):
        actions += [Bracket(side, stop, target) for stop in stops for target in targets]
    return actions


@dataclass
class BracketLedger(ReferenceLedger):
    """One account that trades brackets over `bars`."""

    rules: BracketRules
    last_decision: int | None = None  # where the data or the time range ends; None: the last bin
    closing: bool = False  # whether this step ends a rollout that closes what is still open
    rolling: bool = False  # whether such a rollout is under way, which bankruptcy ends as well

    def _order(self, action: Action, bar: int, reference: Fraction) -> bool:
        """Turn the action into an order; True when it is refused."""
        rules = self.rules
        if action == HOLD or (rules.lock_until_exit and self.position):
            return False
        if action == CLOSE:
            if self.position:
                self._close(bar, reference, "agent", AGENT_ORDER)
            return False
        if action.side == self.side:
            if rules.replace_brackets:
                self._attach(action)
            return False
        traded = len(self.fills)
        refused = self._trade(action.side * rules.position_fraction, bar, reference)
        if len(self.fills) > traded:
            self._attach(action)
        return refused

    def _attach(self, bracket: Bracket) -> None:
        """Measure stop and target from the position's entry, unless lots cut a flip to a close."""
        if self.position:
            self.stop = self.entry * (1 + self.side * bracket.stop)
            self.target = self.entry * (1 + self.side * bracket.target)

    def _reaches(self, price: Fraction, level: Fraction | None, gains: bool) -> bool:
        """Whether `price` lies at or beyond `level`, on the position's better or worse side."""
        way = self.side if gains else -self.side
        return level is not None and way * (price - level) >= 0

    def _ending(self, bar: Bar) -> tuple[Fraction, str] | None:
        """Return the price before slippage and the reason of the bar's exit (section 3)."""
        if not self.position:
            return None
        worst, best = (bar.low, bar.high) if self.side > 0 else (bar.high, bar.low)
        losses = [(self.liquidation_price(), "liquidation"), (self.stop, "stop_loss")]
        for level, reason in losses:
            if self._reaches(bar.open, level, gains=False):
                return bar.open, reason
        if self._reaches(bar.open, self.target, gains=True):
            return bar.open, "take_profit"
        hit = [loss for loss in losses if self._reaches(worst, loss[0], gains=False)]
        won = self._reaches(best, self.target, gains=True)
        self.ambiguous += won and self._reaches(worst, self.stop, gains=False)
        if hit:  # the nearer one; of two equals the stop
            return max(hit, key=lambda loss: (self.side * loss[0], loss[1] == "stop_loss"))
        return (self.target, "take_profit") if won else None

    def _settle(self, index: int) -> None:
        """Close what a rollout's last step leaves open; bankruptcy makes any step the last."""
        close = self.bars[index].close
        ends = self.closing or (self.rolling and self._bankrupt(self.equity(close)))
        if ends and self.position:
            self._close(index, close, "rollout_end", ROLLOUT_END)

    def rollout(self, action: Action) -> StepResult:
        """OneStep: the action, then holds until flat, bankrupt or at the end."""
        last_decision = self.last_decision or len(self.bins) - 1
        results: list[StepResult] = []
        over = False
        while not over:
            over = len(results) + 1 == self.rules.rollout_steps
            over = over or self.decision + 1 == last_decision
            self.rolling = self.rules.close_at_end
            self.closing = over and self.rolling
            results.append(self.step(HOLD if results else action))
            over = over or not self.position or results[-1].terminated
        sums = ("fees", "slippage_cost", "funding", "shortfall", "price_pnl", "reward", "refused",
                "ambiguous_bars")  # fmt: skip
        return dataclasses.replace(
            results[-1],
            fills=[fill for result in results for fill in result.fills],
            liquidated=any(result.liquidated for result in results),
            exit_reason=next((r.exit_reason for r in results if r.exit_reason), ""),
            terminated=True,
            **{name: sum(getattr(result, name) for result in results) for name in sums},
        )
