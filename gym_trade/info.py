"""The info of a lane, in plain words: the same for the scalar and the vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np

from gym_trade.base_config import TradeConfig
from gym_trade.engine import Engine
from gym_trade.jit import jit
from gym_trade.types import BRACKET, CLOSE_ALL, HOLD, REASON_NAMES, Bool, Float64, Int8

# Name -> field of the lane. The first ones are taken as they are, the last ones are translated.
PLAIN = {
    "portfolio_value": "equity",
    "cash": "wallet",
    "position": "quantity",
    "entry_price": "entry_price",
    "price": "price",
    "fees_paid": "fees",
    "slippage_cost": "slippage_cost",
    "shortfall": "shortfall",
    "turnover": "turnover",
    "n_trades": "n_trades",
    "ambiguous_bars": "ambiguous_bars",
    "refused_orders": "refused_orders",
}
TRANSLATED = {
    "timestamp": "decision",
    "funding_paid": "funding",
    "liquidated": "liquidated",
    "exit_reason": "exit_reason",
}
NAMES = (*PLAIN, *TRANSLATED, "market")
FIELDS = [*PLAIN.values(), *TRANSLATED.values(), "market"]
SECONDS_A_DAY = 86_400
_days: dict[int, str] = {}
_seconds: dict[int, str] = {}


def iso_time(nanoseconds: int) -> str:
    """An instant as ISO 8601 in UTC, microseconds where there are any.

    The day's and the second's texts are kept: formatting each time would be a tenth of a step.
    """
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    day, second = divmod(seconds, SECONDS_A_DAY)
    if day not in _days:
        _days[day] = str(np.datetime64(day, "D"))
    if second not in _seconds:
        minutes = second // 60
        _seconds[second] = f"T{minutes // 60:02d}:{minutes % 60:02d}:{second % 60:02d}"
    fraction = f".{rest // 1000:06d}" if rest >= 1000 else ""
    return f"{_days[day]}{_seconds[second]}{fraction}+00:00"


@jit
def write_masks(quantity: Float64, masks: Int8, out: Int8) -> None:
    """Write each lane's action mask into its row of `out`, int8 (n, actions).

    `masks` is int8 (3, actions), see `action_masks`.
    """
    for i in range(out.shape[0]):
        direction = (quantity[i] > 0.0) + 2 * (quantity[i] < 0.0)
        for action in range(out.shape[1]):
            out[i, action] = masks[direction, action]


class LaneInfo:
    """Reads the info of an engine's lanes.

    Amounts in quote currency; `position` in base units; `turnover` traded notional; `timestamp` the
    decision instant that the observation belongs to; `liquidated` and `exit_reason` of this step;
    counts of the episode; `market` where there are several; `action_mask` where brackets are
    traded, int8 (actions,), 0 where the action would be ignored, see `action_masks`.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._fields: Any = np.asarray(engine.lanes)[FIELDS]  # a view
        self._instants = engine.grid.instants
        self._masks = action_masks(engine.config)
        self._quantity = np.asarray(engine.lanes)["quantity"]  # a view
        self._every = np.ones(engine.num_envs, np.bool_)

    def of(self, lane: int) -> dict[str, Any]:
        """One lane's info, in plain Python values."""
        info: dict[str, Any] = dict(zip(NAMES, self._fields.item(lane), strict=True))
        info["timestamp"] = iso_time(self._instants.item(info["timestamp"]))
        info["funding_paid"] = 0.0 - info["funding_paid"]
        info["liquidated"] = info["liquidated"] == 1
        info["exit_reason"] = REASON_NAMES[info["exit_reason"]]
        market = info.pop("market")
        if len(self.engine.markets) > 1:
            info["market"] = self.engine.market_names[market]
        if self._masks is not None:
            position = info["position"]
            info["action_mask"] = self._masks[(position > 0.0) - (position < 0.0)].copy()
        return info

    def batch(self, mask: Bool) -> dict[str, Any]:
        """The info of the lanes of `mask`, as Gymnasium joins those of single environments.

        Each value is an array over all lanes, zero or None in the others, with its own mask.
        """
        chosen = np.flatnonzero(mask)
        infos: dict[str, Any] = {}
        for name, field in PLAIN.items():
            infos[name] = np.where(mask, self._fields[field], 0)
        infos["funding_paid"] = np.where(mask, 0.0 - self._fields["funding"], 0.0)
        infos["liquidated"] = mask & (self._fields["liquidated"] == 1)
        instants = self._instants[self._fields["decision"][chosen]]
        texts: dict[str, list[Any]] = {
            "timestamp": [iso_time(instant) for instant in instants.tolist()],
            "exit_reason": [REASON_NAMES[code] for code in self._fields["exit_reason"][chosen]],
        }
        if len(self.engine.markets) > 1:
            names = self.engine.market_names
            texts["market"] = [names[number] for number in self._fields["market"][chosen]]
        for name, values in texts.items():
            infos[name] = np.full(len(mask), None, dtype=object)
            infos[name][chosen] = values
        infos = infos | {f"_{name}": mask.copy() for name in infos}
        return infos | self.masks(mask)

    def masks(self, mask: Bool | None = None) -> dict[str, Any]:
        """``action_mask`` int8 (n, actions) of all lanes, or those of `mask`; empty without one."""
        if self._masks is None:
            return {}
        rows = np.empty((self.engine.num_envs, self._masks.shape[1]), np.int8)
        write_masks(self._quantity, self._masks, rows)
        if mask is None:
            return {"action_mask": rows, "_action_mask": self._every.copy()}
        return {
            "action_mask": np.where(mask[:, None], rows, np.int8(0)),
            "_action_mask": mask.copy(),
        }


def action_masks(config: TradeConfig) -> Int8 | None:
    """The action mask of a lane that is flat, long or short: int8 (3, actions); None for levels.

    The rows are those of direction 0, 1 and -1, so that a direction is an index.

    An action is masked where the position as it stands would make it change nothing; only if the
    next open liquidates that position first does it count after all. Without a hold action nothing
    is masked: an action that changes nothing is then the way to stay as one is.
    """
    operations = [choice.operation for choice in config.choices] if not config.continuous else []
    if not set(operations) & {BRACKET, CLOSE_ALL}:
        return None
    masks = np.ones((3, len(operations)), np.int8)
    for number, choice in enumerate(config.choices if HOLD in operations else ()):
        if choice.operation == CLOSE_ALL:
            masks[0, number] = 0
        if choice.operation == BRACKET:
            same, other = (1, -1) if choice.level > 0.0 else (-1, 1)
            masks[same, number] = getattr(config, "replace_brackets", False)
            masks[other, number] = not getattr(config, "lock_until_exit", False)
    masks.flags.writeable = False
    return masks
