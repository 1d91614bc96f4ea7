"""One lane's episode as tidy frames: what it held at every decision, its fills, its round trips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gym_trade.engine import Engine
from gym_trade.types import NO_ACTION, REASON_NAMES

MARK_COLUMNS = (
    "timestamp", "action", "reward", "price", "portfolio_value", "cash", "position", "entry_price",
    "stop_price", "target_price", "exposure", "steps_held", "fees_paid", "funding_paid",
    "exit_reason",
)  # fmt: skip
# of each column its dtype, also where there is no row
TRADE_COLUMNS = {
    "entry_time": "datetime64[ns]", "exit_time": "datetime64[ns]", "direction": "int64",
    "quantity": "float64", "entry_price": "float64", "exit_price": "float64", "reason": "object",
    "pnl": "float64", "return": "float64", "fees": "float64", "slippage_cost": "float64",
    "steps_held": "int64",
}  # fmt: skip


def _reasons(codes: Any) -> list[str]:
    return [REASON_NAMES[code] for code in codes]


class History:
    """The recorded lane of an engine.

    Raises:
        RuntimeError: No lane is recorded, or nothing has been reset yet.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.recorder is None:
            raise RuntimeError(
                "no lane is recorded: make the vector environment with record_lane=0, or another."
            )
        if not engine.seeded:
            raise RuntimeError("there is no history before the first reset.")
        self._engine, self._recorder = engine, engine.recorder
        lane = engine.lanes[self._recorder.lane]
        self._steps, self._n_fills = int(lane.steps), int(lane.n_fills)
        self._market = int(lane.market)

    def _times(self, decisions: Any) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self._engine.grid.instants[decisions].view("datetime64[ns]"))

    def marks(self) -> pd.DataFrame:
        """A row a decision instant, the first at the reset.

        Columns: timestamp (UTC), action (that led here; <NA> at the reset and where a rollout
        held), reward, price, portfolio_value, cash, position, entry_price, stop_price and
        target_price (NaN where there is none), exposure (signed, of the portfolio value),
        steps_held, fees_paid and funding_paid (cumulative), exit_reason.
        """
        rows = np.asarray(self._recorder.marks)[: self._steps + 1]
        frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names or ()})
        frame.insert(0, "timestamp", self._times(frame.pop("decision").to_numpy()))
        taken = frame["action"].to_numpy().copy()
        if self._engine.config.continuous:
            taken[0] = np.nan
            frame["action"] = taken
        else:
            frame["action"] = pd.array(taken.astype(np.int64), dtype="Int64")
            frame.loc[taken == NO_ACTION, "action"] = pd.NA
        for name in ("stop_price", "target_price"):
            frame[name] = frame[name].where(frame[name] != 0.0)
        equity = frame["portfolio_value"].to_numpy()
        notional = (frame["position"] * frame["price"]).to_numpy()
        exposure = np.divide(notional, equity, out=np.zeros(len(equity)), where=equity > 0.0)
        frame["exposure"] = exposure
        frame["funding_paid"] = 0.0 - frame["funding"].to_numpy()
        frame["exit_reason"] = _reasons(frame["exit_reason"])
        return frame[list(MARK_COLUMNS)]

    def fills(self, since: int = 0) -> pd.DataFrame:
        """A row a fill: step, bar, timestamp, quantity, prices, fee, reason, and what was left.

        `step` counts the decision steps before it; `bar` is an index into the market's base bars
        and `timestamp` that bar's open time; `quantity` is signed; `reference_price` is the price
        before slippage; `position`, `entry_price` and `cash` are those after the fill.

        Args:
            since: Leave out the fills of earlier decision steps.
        """
        rows = np.asarray(self._recorder.fills)[: self._n_fills]
        rows = rows[rows["step"] >= since]
        frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names or ()})
        # several markets lie behind one another in the engine's bars
        markets = self._engine.markets
        bars = frame["bar"].to_numpy() - sum(map(len, markets[: self._market]))
        frame["bar"] = bars
        opened = markets[self._market].open_ns[bars].view("datetime64[ns]")
        frame.insert(2, "timestamp", pd.DatetimeIndex(opened))
        frame["reason"] = np.array(_reasons(frame["reason"]), dtype=object)
        return frame

    def trades(self) -> pd.DataFrame:
        """A row a finished round trip, and a last one for a position that is still open.

        entry_time and exit_time are the open times of the bars in which the first and the last
        fill happened (NaT while open); direction is 1 or -1; quantity the largest position, in base
        units; entry_price the average one at the exit; exit_price that of the last fill; reason
        that of the exit ("open" while there is none); pnl net of fees, slippage, funding and what a
        loss cap absorbed, in quote currency, marked at the last price while open; return is pnl
        over the cash before the first fill; steps_held the decision instants at which it was held.
        """
        rows: list[dict[str, Any]] = []
        trade: dict[str, Any] | None = None
        position, cash = 0.0, 0.0
        fills: Any = self.fills().itertuples()  # its fields are the columns
        for fill in fills:
            share = 1.0
            if trade is not None:
                closes = fill.position * position <= 0.0
                share = min(abs(position / fill.quantity), 1.0) if closes else 1.0
                _extend(trade, fill, share)
                if closes:
                    opening_fee = fill.fee * (1.0 - share) if fill.position != 0.0 else 0.0
                    cash = fill.cash + opening_fee
                    rows.append(_finish(trade, fill, cash))
                    trade = None
            if trade is None and fill.position != 0.0:
                opening = 1.0 if position == 0.0 else 1.0 - share
                trade = _begin(fill, fill.cash + opening * fill.fee, opening)
            position = fill.position
        if trade is not None:
            rows.append(self._still_open(trade))
        return pd.DataFrame(rows, columns=list(TRADE_COLUMNS)).astype(TRADE_COLUMNS)

    def _still_open(self, trade: dict[str, Any]) -> dict[str, Any]:
        lane = self._engine.lanes[self._recorder.lane]
        began = trade.pop("step")
        pnl = float(lane.equity) - trade.pop("cash")
        before = trade.pop("before")
        return trade | {
            "exit_time": pd.NaT, "exit_price": float(lane.price), "reason": "open", "pnl": pnl,
            "return": pnl / before, "entry_price": float(lane.entry_price),
            "steps_held": int(lane.steps) - began,
        }  # fmt: skip


def _slippage(fill: Any, share: float) -> float:
    return float(abs(fill.quantity) * share * abs(fill.price - fill.reference_price))


def _begin(fill: Any, cash: float, share: float) -> dict[str, Any]:
    """A round trip's first fill, of which `share` opens it; `cash` is what there was before."""
    return {
        "entry_time": fill.timestamp,
        "direction": 1 if fill.position > 0.0 else -1,
        "quantity": abs(fill.position),
        "entry_price": fill.entry_price,
        "fees": fill.fee * share,
        "slippage_cost": _slippage(fill, share),
        "step": fill.step,
        "cash": cash,
        "before": cash,
    }


def _extend(trade: dict[str, Any], fill: Any, share: float) -> None:
    """A further fill of the round trip, of which `share` belongs to it."""
    trade["fees"] += fill.fee * share
    trade["slippage_cost"] += _slippage(fill, share)
    if fill.position * trade["direction"] > 0.0:
        trade["quantity"] = max(trade["quantity"], abs(fill.position))
        trade["entry_price"] = fill.entry_price


def _finish(trade: dict[str, Any], fill: Any, cash: float) -> dict[str, Any]:
    """The round trip closed by `fill`, after which there is `cash`."""
    began, pnl, before = trade.pop("step"), cash - trade.pop("cash"), trade.pop("before")
    # A fill of the agent comes first in its step, any other one at some time within it.
    return trade | {
        "exit_time": fill.timestamp,
        "exit_price": fill.price,
        "reason": fill.reason,
        "pnl": pnl,
        "return": pnl / before,
        "steps_held": fill.step - began,
    }
