"""The scalar environments: each one lane of the vector kernel."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from gym_trade.arguments import refuse
from gym_trade.calls import read_levels
from gym_trade.config import SequentialConfig
from gym_trade.engine import SEED_LIMIT, Engine
from gym_trade.info import lane_info
from gym_trade.market import Market
from gym_trade.spaces import (
    Part,
    action_space,
    flat_layout,
    observation_space,
    single_observation,
)
from gym_trade.tables import Tables
from gym_trade.types import REASON_NAMES

ONE_LANE = np.ones(1, np.bool_)


class SequentialEnv(gymnasium.Env[Any, Any]):
    """Sequential trading: at each decision, choose the level of exposure to hold.

    What a step computes stands in the README under "How a step works". It is one lane of
    `VectorTradeEnv`: the same kernel and the same numbers.

    Args:
        config: A whole configuration; keywords take precedence over it.
        **arguments: Fields of `SequentialConfig`.

    Raises:
        ValueError: An argument is unknown, out of range, or does not fit the market.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, config: SequentialConfig | None = None, **arguments: Any) -> None:
        self.config = SequentialConfig.from_arguments(config, arguments)
        self.render_mode = self.config.render_mode
        self.engine = Engine(self.config, 1, record_fills=True)
        self.layout: tuple[Part, ...] = flat_layout(self.engine)
        self.observation_space = observation_space(self.engine)
        self.action_space = action_space(self.engine)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: with `seed` the first one of that seed, without it the next one.

        Args:
            seed: 0 to 2**63 - 1, or None.
            options: None or empty; there are none.

        Returns:
            (observation, info).

        Raises:
            ValueError: The seed is out of range, or there are options.
        """
        if options:
            raise ValueError(f"options: unknown key {sorted(options)[0]!r}; there are none.")
        if seed is not None and not (isinstance(seed, int | np.integer) and 0 <= seed < SEED_LIMIT):
            raise refuse("seed", seed, f"a whole number from 0 to {SEED_LIMIT - 1}")
        super().reset(seed=seed)
        if seed is not None:
            self.engine.seed(np.array([seed], np.int64))
        self.engine.fills["reason"] = 0  # nothing of the last episode
        observations = np.empty((1, self.engine.width), np.float32)
        self.engine.reset(ONE_LANE, observations)
        return single_observation(self.engine, self.layout, observations[0]), lane_info(
            self.engine, 0
        )

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one decision.

        Args:
            action: An index into the levels, or an array of one float for a continuous level.

        Returns:
            (observation, reward, terminated, truncated, info).

        Raises:
            ValueError: The action is out of range or NaN.
            RuntimeError: Before the first reset, or after the episode's end.
        """
        engine = self.engine
        levels = read_levels(engine, np.atleast_1d(np.asarray(action)), 1)
        if engine.lanes["ended"][0]:
            when = "after the episode's end" if engine.seeded else "before the first reset"
            raise RuntimeError(f"step {when}: call reset first.")
        observations = np.empty((1, engine.width), np.float32)
        engine.step(levels, observations)
        terminated, truncated = bool(engine.terminated[0]), bool(engine.truncated[0])
        info = lane_info(self.engine, 0)
        if terminated or truncated:
            info["metrics"] = engine.metrics(0)
        observation = single_observation(engine, self.layout, observations[0])
        return observation, float(engine.rewards[0]), terminated, truncated, info

    def close(self) -> None:
        """Release the engine's threads, if any."""
        self.engine.close()

    @property
    def markets(self) -> tuple[Market, ...]:
        """The markets, in the order of their numbers."""
        return self.engine.markets

    @property
    def tables(self) -> tuple[Tables, ...]:
        """Each market's tables: decision instants, windows and features, as ``index`` needs."""
        return self.engine.all_tables

    def fills(self) -> pd.DataFrame:
        """The fills of the last step, in order: bar (index into the market's base bars), quantity,
        reference_price (before slippage), price, fee, reason.
        """  # noqa: D205
        rows = self.engine.fills[0]
        frame = pd.DataFrame.from_records(np.asarray(rows[rows["reason"] > 0]))
        # several markets lie behind one another in the engine's bars
        frame["bar"] -= sum(map(len, self.markets[: int(self.engine.lanes["market"][0])]))
        frame["reason"] = [REASON_NAMES[code] for code in frame["reason"]]
        return frame
