"""What environments tell beside their observations, read on request."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade.base_config import TradeConfig
from gym_trade.config import SequentialConfig
from gym_trade.engine import Engine
from gym_trade.history import History
from gym_trade.info import action_masks
from gym_trade.market import Market
from gym_trade.pictures import Pictures
from gym_trade.tables import Tables
from gym_trade.types import Float64, Int8, Int64


class EpisodeViews:
    """The history of the recorded lane (the only one of a scalar environment), and the markets."""

    config: TradeConfig
    engine: Engine
    _pictures: Pictures

    def history(self) -> pd.DataFrame:
        """The episode so far, a row a decision instant; see `gym_trade.history.History.marks`."""
        return History(self.engine).marks()

    def all_fills(self) -> pd.DataFrame:
        """The fills of the episode so far; see `gym_trade.history.History.fills`."""
        return History(self.engine).fills()

    def trades(self) -> pd.DataFrame:
        """The round trips of the episode so far; see `gym_trade.history.History.trades`."""
        return History(self.engine).trades()

    def render_history(self, return_fig: bool = False) -> Any:
        """Draw the episode so far: price with entries and exits, portfolio, exposure.

        Args:
            return_fig: True returns the matplotlib figure; False shows it in a window or notebook.
        """
        return self._pictures.history(self.engine, return_fig)

    @property
    def markets(self) -> tuple[Market, ...]:
        """The markets, in the order of their numbers."""
        return self.engine.markets

    @property
    def tables(self) -> tuple[Tables, ...]:
        """Each market's tables: decision instants, windows and features, as ``index`` needs."""
        return self.engine.all_tables


class LaneViews(EpisodeViews):
    """The accounts of all lanes of a vector environment."""

    def account(self) -> dict[str, npt.NDArray[Any]]:
        """What every lane holds and has done this episode: name -> array (num_envs,), copies.

        Prices and amounts in quote currency, `position` in base units, `turnover` traded notional,
        `exit_reason` a code of `types.REASON_NAMES`.
        """
        lanes = self.engine.lanes
        names = {
            "portfolio_value": "equity", "cash": "wallet", "position": "quantity",
            "entry_price": "entry_price", "held_level": "held_level", "price": "price",
            "steps_held": "steps_held", "steps": "steps", "episode": "episode", "seed": "seed",
            "fees_paid": "fees", "slippage_cost": "slippage_cost", "shortfall": "shortfall",
            "turnover": "turnover", "n_trades": "n_trades", "refused_orders": "refused_orders",
            "ambiguous_bars": "ambiguous_bars", "liquidations": "liquidations",
            "exit_reason": "exit_reason", "market": "market",
        }  # fmt: skip
        columns = {name: np.array(lanes[field]) for name, field in names.items()}
        columns["funding_paid"] = 0.0 - np.array(lanes.funding)
        columns["exposure"] = self.engine.exposure()
        return columns

    @property
    def action_levels(self) -> Float64 | None:
        """The levels of discrete actions, float64 (actions,); None where there are none."""
        config = self.config
        if not isinstance(config, SequentialConfig) or config.continuous:
            return None
        return np.array(config.levels)

    @property
    def directions(self) -> Int64:
        """Of each lane's position, int64 (num_envs,): -1 short, 0 flat, 1 long."""
        quantity = self.engine.lanes["quantity"]
        made: Int64 = (quantity > 0.0).astype(np.int64) - (quantity < 0.0)
        return made

    @property
    def held_levels(self) -> Float64:
        """The level that each lane holds, float64 (num_envs,): the last one it traded to."""
        levels: Float64 = np.array(self.engine.lanes["held_level"])
        return levels

    @property
    def direction_masks(self) -> Int8 | None:
        """Which actions a position leaves, int8 (3, actions); None where levels are traded.

        The rows are those of a flat, a long and a short lane, so that a direction is an index:
        ``env.direction_masks[env.directions]`` is what ``info["action_mask"]`` says.
        """
        return action_masks(self.config)

    @property
    def decision_index(self) -> Int64:
        """Each lane's decision instant, int64 (num_envs,), counted within its market."""
        return self.engine.decision_index()

    @property
    def decision_times(self) -> npt.NDArray[np.datetime64]:
        """All decision instants of the first market, datetime64[ns], UTC."""
        return self.engine.tables.instants.view("datetime64[ns]")

    @property
    def decision_closes(self) -> Float64:
        """The last visible close at each decision instant of the first market, float64."""
        closes: Float64 = self.engine.markets[0].close[self.engine.tables.bar_end - 1]
        return closes

    @property
    def decision_range(self) -> tuple[int, int]:
        """The first market's first usable instant and last mark, after ``start`` and ``end``."""
        return int(self.engine.ranges[0, 0]), int(self.engine.ranges[0, 1])

    @property
    def portfolio_value(self) -> Float64:
        """Equity of every lane at the last visible close, float64 (num_envs,)."""
        equity: Float64 = np.array(self.engine.lanes.equity)
        return equity
