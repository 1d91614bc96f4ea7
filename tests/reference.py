"""The reference ledger: the contract's account and step, slow, exact and in another style.

The account is three lists: fills, funding, absorbed shortfalls. Position, entry and wallet are
replayed from them in fractions; each step proves the accounting identity. Sections: the contract's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tests.reference_records import ZERO, Bar, Fill, Rules, StepResult

FUNDING_INTERVAL_NS = 8 * 3600 * 10**9  # its multiples since the epoch: 00:00, 08:00, 16:00 UTC
BEFORE_ORDER, AGENT_ORDER, WALKING_EXIT = 0, 1, 2  # slots: a slippage draw is keyed by (step, slot)


def decision_bins(bars: Sequence[Bar], execute_on_ns: int) -> list[tuple[int, int, int]]:
    """Return (decision instant, first bar, end bar) of each epoch-anchored bin that has a bar."""
    members: dict[int, list[int]] = {}
    for index, bar in enumerate(bars):
        members.setdefault(bar.open_ns // execute_on_ns, []).append(index)
    return [((k + 1) * execute_on_ns, rows[0], rows[-1] + 1) for k, rows in members.items()]


def unslipped_pnl(q: Fraction, mark: Fraction, fills: list[Fill], end: Fraction) -> Fraction:
    """Sum the position held times each move of the unslipped price, from `mark` to `end`."""
    pnl = ZERO
    for fill in fills:
        pnl += q * (fill.reference_price - mark)
        q, mark = q + fill.quantity, fill.reference_price
    return pnl + q * (end - mark)


@dataclass
class ReferenceLedger:
    """One account that trades levels over `bars`, from the decision instant `decision` on."""

    bars: Sequence[Bar]
    rules: Rules
    initial_cash: Fraction
    decision: int  # index into `decision_bins`; each step adds one
    slip: Callable[[int, int], Fraction] | None = None  # (steps so far, slot) -> slippage s
    grid: Fraction = ZERO  # > 0 rounds sizes, entry and P_liq to it: 2**-200 keeps long runs quick

    def __post_init__(self) -> None:
        """Start flat, marked at the last visible close."""
        self.initial_cash, self.grid = Fraction(self.initial_cash), Fraction(self.grid)
        self.bins = decision_bins(self.bars, self.rules.execute_on_ns)
        self.mark = self.bars[self.bins[self.decision][2] - 1].close
        self.steps, self.steps_held, self.held_level = 0, 0, ZERO
        self.stop, self.target, self.ambiguous = None, None, 0  # `reference_brackets` sets them
        self.fills: list[Fill] = []
        self.funding: list[Fraction] = []  # received; < 0 where paid
        self.shortfalls: list[Fraction] = []  # losses that a cap absorbed
        self._replay()

    def _replay(self) -> None:
        """Derive position, entry price and wallet from the lists."""
        q, p, cash = ZERO, ZERO, self.initial_cash + sum(self.funding) + sum(self.shortfalls)
        for fill in self.fills:
            after = q + fill.quantity
            if q * after <= 0:  # opened, flipped or closed
                p = fill.price if after else ZERO
            elif abs(after) > abs(q):  # increased; a decrease leaves p
                p = self._snap((q * p + fill.quantity * fill.price) / after)
            q, cash = after, cash - fill.quantity * fill.price - fill.fee
        self.position, self.entry, self.side = q, p, (q > 0) - (q < 0)
        self.wallet = cash + q * p  # B: what the open position cost is put back
        self.margin = abs(q) * p / self.rules.leverage  # M, which isolated margin locks

    def _snap(self, value: Fraction) -> Fraction:
        return round(value / self.grid) * self.grid if self.grid else value

    def equity(self, price: Fraction) -> Fraction:
        """E(m) = B + q (m - p)."""
        return self.wallet + self.position * (price - self.entry)

    def _bankrupt(self, equity: Fraction) -> bool:
        return equity <= 0 or equity < self.rules.bankrupt_threshold * self.initial_cash

    def _log_return(self, before: Fraction) -> float:
        """Return the reward of a step that began with this equity."""
        floor = self.initial_cash / 10**6
        return math.log(max(self.equity(self.mark), floor) / max(before, floor))

    def account_state(self) -> list[Fraction]:
        """Return the six numbers that are observed (section 2's end)."""
        m, q, equity = self.mark, self.position, self.equity(self.mark)
        level = self.liquidation_price()
        return [
            abs(q) * m / equity if equity > 0 else ZERO,
            Fraction(self.side),
            self.side * (m - self.entry) / self.entry if q else ZERO,
            Fraction(self.steps_held),
            self.rules.leverage,
            Fraction(1) if level is None else min(abs(m - level) / m, Fraction(1)),
        ]

    def liquidation_price(self) -> Fraction | None:
        """Return P_liq; None when flat, in an unlevered long, or where no price liquidates."""
        q, p, side, rules = self.position, self.entry, self.side, self.rules
        if q == 0 or (rules.leverage == 1 and q > 0):
            return None
        if rules.margin_mode == "isolated":
            price = p * (1 - side / rules.leverage) / (1 - side * rules.maintenance)
        else:
            price = (q * p - self.wallet) / (q - rules.maintenance * abs(q))
        return None if side > 0 and price <= 0 else self._snap(price)

    def _liquidates_at(self, price: Fraction) -> bool:
        level = self.liquidation_price()
        return level is not None and self.side * price <= self.side * level

    def _slipped(self, reference: Fraction, side: int, slot: int) -> Fraction:
        """Slippage is adverse: a buy (side +1) pays x(1+s), a sell (-1) gets x(1-s)."""
        s = self.rules.slippage if self.slip is None else Fraction(self.slip(self.steps, slot))
        return reference * (1 + side * s)

    def _record(self, fill: Fill, shortfall: Fraction = ZERO) -> None:
        """Add a fill: the wallet must move by what it realises, less its fee (section 2)."""
        q, p, wallet = self.position, self.entry, self.wallet
        closed = self.side * min(abs(q), abs(fill.quantity)) if q * fill.quantity < 0 else ZERO
        self.fills.append(fill)
        self.shortfalls.append(shortfall)
        self._replay()
        error = self.wallet - (wallet + closed * (fill.price - p) - fill.fee + shortfall)
        assert abs(error) <= self.grid * abs(self.position), "realised PnL"
        if q * self.position <= 0:  # opened, flipped or closed; a resize keeps on counting
            self.steps_held, self.stop, self.target = 0, None, None

    def _order(self, level: Fraction, bar: int, reference: Fraction) -> bool:
        """Trade to `level` at `reference` before slippage; True when the order is refused."""
        rules, q, level = self.rules, self.position, Fraction(level)
        threshold = rules.rebalance_threshold if rules.continuous else ZERO
        closes = rules.continuous and level == 0 and q != 0  # whatever the threshold
        if abs(level - self.held_level) <= threshold and not closes:
            return False
        if level == 0 and q != 0:
            self._close(bar, reference, "agent", AGENT_ORDER)
            return False
        return self._trade(level, bar, reference)

    def _trade(self, level: Fraction, bar: int, reference: Fraction) -> bool:
        """Bring the exposure to `level` times the leverage; True when that is refused."""
        rules, q = self.rules, self.position
        for side in (1, -1):  # the buy solution first, then the sell
            price = self._slipped(reference, side, AGENT_ORDER)
            equity = self.equity(price)
            if level != 0 and equity <= 0:
                return True
            # q* x = a L (E(x) - f |q* - q| x), in which |q* - q| = side (q* - q)
            exposure, fee = level * rules.leverage, side * rules.fee
            target = exposure * (equity + fee * q * price) / (price * (1 + exposure * fee))
            size = side * (self._snap(target) - q)
            if size <= 0:  # this side does not move q
                continue
            size = self._permitted(size, side, price)
            paid = rules.fee * size * price
            if size == 0 or paid >= equity:
                return True
            self._record(Fill(bar, side * size, reference, price, paid, "agent"))
            reached = exposure * self.equity(price)
            assert self.position != target or target * price == reached, "exposure a L, fee paid"
            break
        self.held_level = level  # also when neither side moves q
        return False

    def _permitted(self, size: Fraction, side: int, price: Fraction) -> Fraction:
        """Cut to isolated margin, round to lots, apply the least notional; 0 is refused."""
        rules = self.rules
        if rules.margin_mode == "isolated" and side * self.position >= 0:  # increase, not a flip
            free = max(self.wallet - self.margin, ZERO)
            size = min(size, self._snap(free / (price * (1 / rules.leverage + rules.fee))))
        if rules.lot_size > 0:
            size = math.floor(size / rules.lot_size + Fraction(1, 10**9)) * rules.lot_size
        return ZERO if size * price < rules.min_notional else size

    def _close(self, bar: int, reference: Fraction, reason: str, slot: int = WALKING_EXIT) -> None:
        """Close all of it; in a liquidation the loss, and then the fee, stop at the floor."""
        rules, q, floor = self.rules, self.position, ZERO
        limit = reason == "take_profit"  # an order that rests at its price: it does not slip
        price = reference if limit else self._slipped(reference, -self.side, slot)
        fee, shortfall = rules.fee * abs(q) * price, ZERO
        if reason == "liquidation":
            rate = rules.fee if rules.liquidation_fee is None else rules.liquidation_fee
            if rules.margin_mode == "isolated":
                floor = self.wallet - min(self.margin, self.wallet)
            left = self.equity(price) - floor
            fee, shortfall = min(rate * abs(q) * price, max(left, ZERO)), max(-left, ZERO)
        self._record(Fill(bar, -q, reference, price, fee, reason), shortfall)
        self.held_level = ZERO

    def _walk(self, index: int) -> None:
        """Let one bar pass: funding, then what ends the position first, then the margin call."""
        bar, q, call = self.bars[index], self.position, self.rules.margin_call_threshold
        if self.rules.funding and q != 0 and bar.open_ns % FUNDING_INTERVAL_NS == 0:
            self.funding.append(-bar.funding_rate * q * bar.open)
            self._replay()
        ending = self._ending(bar)
        if ending is not None:
            self._close(index, *ending)
        elif q != 0 and call is not None:
            if self.equity(bar.close) < call * abs(q) * bar.close / self.rules.leverage:
                self._close(index, bar.close, "margin_call")

    def _ending(self, bar: Bar) -> tuple[Fraction, str] | None:
        """Return the price before slippage and the reason of the bar's exit, if it has one."""
        if self._liquidates_at(bar.open):
            return bar.open, "liquidation"
        if self._liquidates_at(bar.low if self.position > 0 else bar.high):
            return self.liquidation_price(), "liquidation"
        return None

    def _settle(self, index: int) -> None:
        """Do what is due at the last walked bar's close; here nothing."""

    def step(self, action: Any) -> StepResult:
        """Take one decision, walk the next non-empty bin, prove the identity (section 3)."""
        _, first, end = self.bins[self.decision + 1]
        q, mark, equity, refused = self.position, self.mark, self.equity(self.mark), False
        ambiguous = self.ambiguous
        fills, funding, shortfalls = len(self.fills), len(self.funding), len(self.shortfalls)
        opens = self.rules.fill_at == "next_open"
        fill_bar, reference = (first, self.bars[first].open) if opens else (first - 1, mark)
        liquidated = opens and self._liquidates_at(reference)
        if liquidated:
            self._close(first, reference, "liquidation", BEFORE_ORDER)
        if not (liquidated and self._bankrupt(self.wallet)):
            refused = self._order(action, fill_bar, reference)
        for index in range(first, end):
            self._walk(index)
        self._settle(end - 1)
        self.decision, self.steps = self.decision + 1, self.steps + 1
        self.mark = self.bars[end - 1].close
        self.steps_held = self.steps_held + 1 if self.position else 0
        done = self.fills[fills:]
        exits = ["", *(fill.reason for fill in done if fill.reason != "agent")]
        result = StepResult(
            equity=self.equity(self.mark),
            wallet=self.wallet,
            position=self.position,
            entry=self.entry,
            steps_held=self.steps_held,
            held_level=self.held_level,
            fills=done,
            fees=sum((fill.fee for fill in done), ZERO),
            slippage_cost=sum((f.quantity * (f.price - f.reference_price) for f in done), ZERO),
            funding=sum(self.funding[funding:], ZERO),
            shortfall=sum(self.shortfalls[shortfalls:], ZERO),
            price_pnl=unslipped_pnl(q, mark, done, self.mark),
            liquidated="liquidation" in exits,
            refused=refused,
            terminated=self._bankrupt(self.equity(self.mark)),
            exit_reason=exits[-1],
            mark=self.mark,
            reward=self._log_return(equity),
            ambiguous_bars=self.ambiguous - ambiguous,
            stop_price=self.stop,
            target_price=self.target,
        )
        gain = result.price_pnl + result.funding + result.shortfall
        gain -= result.fees + result.slippage_cost
        assert result.equity - equity == gain, "the accounting identity (section 2)"
        return result
