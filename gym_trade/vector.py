"""The vector environment: many lanes, one kernel call a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from gym_trade.arguments import flag, refuse, whole
from gym_trade.calls import apply_seeds, read_autoreset_mode, read_levels, read_reset_mask
from gym_trade.config import SequentialConfig
from gym_trade.engine import Engine
from gym_trade.info import lane_info
from gym_trade.market import Market
from gym_trade.spaces import (
    Part,
    action_space,
    batch_observation,
    flat_layout,
    observation_space,
    single_observation,
)
from gym_trade.tables import Tables
from gym_trade.types import Bool, Float32, Float64, Int64


class VectorTradeEnv(VectorEnv[Any, Any, Any]):
    """Many lanes of ``Trade-Sequential-v0``, stepped together by one jitted kernel.

    Lane i reset with seed s equals the scalar environment reset with seed s + i, bit for bit,
    through any number of autoresets. To keep a step cheap, ``info`` is empty except at episode
    ends, where it holds ``metrics`` (name -> float64 (num_envs,), 0 for other lanes) with the mask
    ``_metrics`` and, in SAME_STEP mode, Gymnasium's ``final_obs`` and ``final_info``; `account`
    reads everything else on request.

    Args:
        config: A whole configuration; keywords take precedence over it.
        num_envs: Number of lanes, >= 1.
        autoreset_mode: Gymnasium's mode or its value: "NextStep", "SameStep" or "Disabled".
        copy: True returns fresh arrays; False returns the same ones, overwritten by each step.
        threads: Threads that share a step; used from 256 lanes a thread on.
        max_episode_steps: What ``gym.make_vec`` hands on: truncates like `episode_steps`.
        **arguments: Fields of `SequentialConfig`.

    Raises:
        ValueError: An argument is unknown, out of range, or does not fit the market.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        config: SequentialConfig | None = None,
        *,
        num_envs: int = 1,
        autoreset_mode: object = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        threads: int = 1,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ) -> None:
        made = SequentialConfig.from_arguments(config, arguments)
        if max_episode_steps is not None:
            limit = whole("max_episode_steps", max_episode_steps, 1)
            made = made.replace(episode_steps=min(limit, made.episode_steps or limit))
        self.config = made
        self.num_envs = whole("num_envs", num_envs, 1)
        self.copy = flag("copy", copy)
        self.autoreset_mode = read_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = made.render_mode
        self.engine = Engine(
            made, self.num_envs, self.autoreset_mode.value, whole("threads", threads, 1)
        )
        self.layout: tuple[Part, ...] = flat_layout(self.engine)
        self.single_observation_space = observation_space(self.engine)
        self.single_action_space = action_space(self.engine)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observations = np.zeros((self.num_envs, self.engine.width), np.float32)

    # --- Gymnasium ---------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode on every lane, or on those of ``options["reset_mask"]``.

        Args:
            seed: s seeds lane i with s + i; a list seeds each lane (None leaves one as it is);
                None begins each lane's next episode.
            options: None or ``{"reset_mask": bool array (num_envs,)}``.

        Returns:
            (observations, {}).

        Raises:
            ValueError: A seed or the options cannot be used.
        """
        mask = read_reset_mask(self.engine, options)
        apply_seeds(self.engine, seed, mask)
        if isinstance(seed, int):
            super().reset(seed=seed)
        observations = self._buffer()
        self.engine.reset(mask, observations)
        return batch_observation(self.engine, self.layout, observations), {}

    def step(self, actions: Any) -> tuple[Any, Float64, Bool, Bool, dict[str, Any]]:
        """Step every lane.

        Args:
            actions: Integers (num_envs,), or floats (num_envs, 1) for continuous levels.

        Returns:
            (observations, rewards float64, terminated bool, truncated bool, info).

        Raises:
            ValueError: An action is out of range or NaN.
            RuntimeError: Before the first reset, or, with autoreset disabled, on an ended lane.
        """
        engine = self.engine
        levels = read_levels(engine, actions, self.num_envs)
        self._require_running()
        observations = self._buffer()
        engine.step(levels, observations)
        info = self._end_episodes(observations)
        terminated, truncated, rewards = engine.terminated, engine.truncated, engine.rewards
        if self.copy:
            terminated, truncated, rewards = terminated.copy(), truncated.copy(), rewards.copy()
        batch = batch_observation(engine, self.layout, observations)
        return batch, rewards, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads."""
        self.engine.close()

    # --- beside Gymnasium --------------------------------------------------------------------

    def step_lanes(self, lanes: Int64, actions: Any) -> tuple[Any, Float64, Bool, Bool]:
        """Step some lanes only; autoreset must be disabled.

        Args:
            lanes: Which, int64 (k,), without repetition.
            actions: Their actions, (k,) or (k, 1).

        Returns:
            (observations, rewards, terminated, truncated) of these lanes in their order.

        Raises:
            ValueError: A lane is out of range or named twice, or an action is out of range.
            RuntimeError: A lane has ended, or autoreset is not disabled.
        """
        index = np.asarray(lanes)
        if self.autoreset_mode is not AutoresetMode.DISABLED:
            raise RuntimeError("step_lanes needs autoreset_mode='Disabled'.")
        in_range = index.ndim == 1 and index.dtype.kind in "iu" and len(index) > 0
        in_range = in_range and 0 <= int(index.min()) and int(index.max()) < self.num_envs
        if not in_range or len(np.unique(index)) != len(index):
            raise refuse("lanes", lanes, f"different integers from 0 to {self.num_envs - 1}")
        levels = read_levels(self.engine, actions, len(index))
        self._require_running(index)
        return self._step_subset(index, levels)

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
    def markets(self) -> tuple[Market, ...]:
        """The markets, in the order of their numbers."""
        return self.engine.markets

    @property
    def tables(self) -> tuple[Tables, ...]:
        """Each market's tables: decision instants, windows and features, as ``index`` needs."""
        return self.engine.all_tables

    @property
    def action_levels(self) -> Float64 | None:
        """The levels of discrete actions, float64 (actions,); None for continuous ones."""
        return None if self.engine.levels is None else self.engine.levels.copy()

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

    # --- parts -------------------------------------------------------------------------------

    def _buffer(self) -> Float32:
        return np.empty_like(self._observations) if self.copy else self._observations

    def _require_running(self, index: Int64 | None = None) -> None:
        engine = self.engine
        if not engine.seeded:
            raise RuntimeError("step before the first reset.")
        if self.autoreset_mode is AutoresetMode.DISABLED:
            ended = engine.lanes.ended if index is None else engine.lanes.ended[index]
            if ended.any():
                lane = int(ended.argmax()) if index is None else int(index[ended.argmax()])
                raise RuntimeError(
                    f"lane {lane} has ended and autoreset is disabled: reset it with "
                    "options={'reset_mask': mask} first."
                )

    def _end_episodes(self, observations: Float32) -> dict[str, Any]:
        """The info of a step; in SAME_STEP mode also the reset of the lanes that ended."""
        engine = self.engine
        ended = engine.terminated | engine.truncated
        if not ended.any():
            return {}
        info: dict[str, Any] = {"metrics": engine.metric_columns(ended), "_metrics": ended}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            finals = np.full(self.num_envs, None, dtype=object)
            for lane in np.flatnonzero(ended).tolist():
                finals[lane] = self._final(lane)
            info |= {"final_obs": finals, "_final_obs": ended.copy()}
            info |= {"final_info": self._final_info(info, ended), "_final_info": ended.copy()}
            engine.reset(ended, observations, observe_all=False)
        return info

    def _final_info(self, info: dict[str, Any], ended: Bool) -> dict[str, Any]:
        """The scalar environment's last info of each ended lane, joined as Gymnasium does."""
        final: dict[str, Any] = {}
        for lane in np.flatnonzero(ended).tolist():
            final = self._add_info(final, lane_info(self.engine, lane), lane)
        return final | {"metrics": info["metrics"], "_metrics": ended.copy()}

    def _final(self, lane: int) -> Any:
        row = self.engine.finals[lane].copy()
        final = single_observation(self.engine, self.layout, row)
        if self.engine.indexed:
            final["decision_index"] = self.engine.decision_index()[lane]
            if "market" in final:
                final["market"] = self.engine.lanes.market[lane]
        return final

    def _step_subset(self, index: Int64, levels: Float64) -> tuple[Any, Float64, Bool, Bool]:
        observations = np.empty((len(index), self.engine.width), np.float32)
        results = self.engine.step_some(index, levels, observations)
        if self.engine.indexed:
            members: dict[str, Any] = {self.layout[-1].key: observations}
            members["decision_index"] = self.engine.decision_index()[index]
            if len(self.markets) > 1:
                members["market"] = self.engine.lanes.market[index]
            return members, *results
        return batch_observation(self.engine, self.layout, observations), *results
