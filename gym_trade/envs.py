"""The scalar environments: each one lane of the vector kernel."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pandas as pd

from gym_trade.arguments import refuse
from gym_trade.base_config import RENDER_MODES, TradeConfig
from gym_trade.calls import describe_refusal, read_actions
from gym_trade.config import OneStepConfig, SequentialConfig, SLTPConfig
from gym_trade.engine import NO_LEVELS, SEED_LIMIT, Engine, RefusedActionError
from gym_trade.history import History
from gym_trade.info import LaneInfo
from gym_trade.pictures import Pictures
from gym_trade.spaces import Part, action_space, flat_layout, observation_space, parts_dtype, split
from gym_trade.types import Float64, Int64
from gym_trade.views import EpisodeViews

ONE_LANE = np.ones(1, np.bool_)
RENDER_FPS = 12


class TradeEnv(EpisodeViews, gymnasium.Env[Any, Any]):
    """One lane of the vector kernel: the same numbers, without a batch.

    What a step computes stands in the README under "How a step works". A subclass says with
    `config_class` which actions there are.

    Args:
        config: A whole configuration; keywords take precedence over it.
        **arguments: Fields of `config_class`.

    Raises:
        ValueError: An argument is unknown, out of range, or does not fit the market.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS,
    }  # fmt: skip
    config_class: ClassVar[type[TradeConfig]]

    def __init__(self, config: TradeConfig | None = None, **arguments: Any) -> None:
        self.config = self.config_class.from_arguments(config, arguments)
        self.render_mode = self.config.render_mode
        self.engine = Engine(self.config, 1, recorded_lane=0)
        self.layout: tuple[Part, ...] = flat_layout(self.engine)
        self.observation_space = observation_space(self.engine)
        self.action_space = action_space(self.engine)
        self._prepare()

    def _prepare(self) -> None:
        self._pictures = Pictures(self.render_mode)
        self._info = LaneInfo(self.engine)
        self._dtype = parts_dtype(self.layout)
        self._action = np.zeros(1, np.int64)
        self._over = True

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_pictures", "_info", "_dtype", "_action")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        over = state["_over"]
        self.__dict__.update(state)
        self._prepare()
        self._over = over

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
        observations = np.empty((1, self.engine.width), np.float32)
        self.engine.reset(ONE_LANE, observations)
        self._over = False
        if self.render_mode == "human":
            self.render()
        return split(self.engine, self._dtype, observations[0]), self._info.of(0)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one decision.

        Args:
            action: An index, or an array of one float for a continuous level.

        Returns:
            (observation, reward, terminated, truncated, info).

        Raises:
            ValueError: The action is out of range or NaN.
            RuntimeError: Before the first reset, or after the episode's end.
        """
        engine = self.engine
        if self._over:
            when = "after the episode's end" if engine.seeded else "before the first reset"
            raise RuntimeError(f"step {when}: call reset first.")
        actions, levels = self._read(action)
        observations = np.empty((1, engine.width), np.float32)
        try:
            ended = engine.step(actions, levels, observations)
        except RefusedActionError as refused:
            raise describe_refusal(engine, action, refused.lane) from None
        info = self._info.of(0)
        if ended:
            self._over = True
            info["metrics"] = engine.metrics(0)
        if self.render_mode == "human":
            self.render()
        return (
            split(engine, self._dtype, observations[0]),
            engine.rewards.item(0),
            engine.terminated.item(0),
            engine.truncated.item(0),
            info,
        )

    def _read(self, action: Any) -> tuple[Int64, Float64]:
        plain = type(action) is int or isinstance(action, np.int64)
        if plain and not self.config.continuous and -1 <= action < 2**31:
            self._action[0] = action
            return self._action, NO_LEVELS
        return read_actions(self.engine, np.atleast_1d(np.asarray(action)), 1)

    def render(self) -> Any:
        """A frame of the episode so far, uint8 (height, width, 3); None for "human" and no mode.

        Raises:
            RuntimeError: Before the first reset, or "human" without a display.
        """
        return self._pictures.render(self.engine)

    def close(self) -> None:
        """Release the window, and the engine's threads, if any."""
        self._pictures.close()
        self.engine.close()

    # --- beside Gymnasium --------------------------------------------------------------------

    def fills(self) -> pd.DataFrame:
        """The fills of the last step, in order; see `gym_trade.history.History.fills`."""
        steps = int(self.engine.lanes["steps"][0])
        return History(self.engine).fills(0 if self.config.rollout else max(steps - 1, 0))


class SequentialEnv(TradeEnv):
    """``Trade-Sequential-v0``: at each decision, choose the level of exposure to hold."""

    config_class = SequentialConfig
    config: SequentialConfig


class SLTPEnv(TradeEnv):
    """``Trade-SLTP-v0``: at each decision, hold or open a position with a stop and a target."""

    config_class = SLTPConfig
    config: SLTPConfig


class OneStepEnv(TradeEnv):
    """``Trade-OneStep-v0``: one bracket order, held to its end; the episode is that one step."""

    config_class = OneStepConfig
    config: OneStepConfig
