"""The vector environment: many lanes, one kernel call a step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from gym_trade.arguments import flag, refuse, whole
from gym_trade.base_config import RENDER_MODES, TradeConfig
from gym_trade.calls import (
    apply_seeds,
    describe_refusal,
    read_actions,
    read_autoreset_mode,
    read_recorded_lane,
    read_reset_mask,
)
from gym_trade.config import OneStepConfig, SequentialConfig, SLTPConfig
from gym_trade.engine import Engine, RefusedActionError
from gym_trade.envs import RENDER_FPS
from gym_trade.info import LaneInfo
from gym_trade.pictures import Pictures
from gym_trade.spaces import Part, action_space, flat_layout, observation_space, parts_dtype, split
from gym_trade.types import Bool, Float32, Float64, Int64
from gym_trade.views import LaneViews

BLANK = 255  # white


class VectorTradeEnv(LaneViews, VectorEnv[Any, Any, Any]):
    """Many lanes of an environment, stepped together by one jitted kernel.

    This class is ``Trade-VectorSequential-v0``; a subclass says with `config_class` which actions
    there are.

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
        record_lane: The lane whose history is kept, for `history`, `trades`, `render_history` and
            the render modes; None: lane 0 where a render mode asks for one, else none.
        max_episode_steps: What ``gym.make_vec`` hands on: truncates like `episode_steps`.
        **arguments: Fields of `config_class`.

    Raises:
        ValueError: An argument is unknown, out of range, or does not fit the market.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }  # fmt: skip
    config_class: ClassVar[type[TradeConfig]] = SequentialConfig

    def __init__(
        self,
        config: TradeConfig | None = None,
        *,
        num_envs: int = 1,
        autoreset_mode: object = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        threads: int = 1,
        record_lane: int | None = None,
        max_episode_steps: int | None = None,
        **arguments: Any,
    ) -> None:
        made = self.config_class.from_arguments(config, arguments)
        if max_episode_steps is not None:
            limit = whole("max_episode_steps", max_episode_steps, 1)
            made = made.replace(episode_steps=min(limit, made.episode_steps or limit))
        self.config = made
        self.num_envs = whole("num_envs", num_envs, 1)
        self.copy = flag("copy", copy)
        self.autoreset_mode = read_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = made.render_mode
        recorded = read_recorded_lane(record_lane, self.num_envs, self.render_mode)
        self.engine = Engine(
            made, self.num_envs, self.autoreset_mode.value, whole("threads", threads, 1), recorded
        )
        self.layout: tuple[Part, ...] = flat_layout(self.engine)
        self.single_observation_space = observation_space(self.engine)
        self.single_action_space = action_space(self.engine)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observations = np.zeros((self.num_envs, self.engine.width), np.float32)
        self._prepare()

    def _prepare(self) -> None:
        self._pictures = Pictures(self.render_mode)
        self._info = LaneInfo(self.engine)
        self._dtype = parts_dtype(self.layout)

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_pictures", "_info", "_dtype")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

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
            (observations, info), info empty but for ``action_mask`` where brackets are traded.

        Raises:
            ValueError: A seed or the options cannot be used.
        """
        mask = read_reset_mask(self.engine, options)
        apply_seeds(self.engine, seed, mask)
        if isinstance(seed, int):
            super().reset(seed=seed)
        observations = self._buffer()
        self.engine.reset(mask, observations)
        if self.render_mode == "human":
            self.render()
        return split(self.engine, self._dtype, observations), self._info.masks()

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
        indices, levels = read_actions(engine, actions, self.num_envs)
        self._require_running()
        observations = self._buffer()
        try:
            n_ended = engine.step(indices, levels, observations)
        except RefusedActionError as refused:
            raise describe_refusal(engine, actions, refused.lane) from None
        info = self._end_episodes(observations) if n_ended else {}
        info |= self._info.masks()
        if self.render_mode == "human":
            self.render()
        terminated, truncated, rewards = engine.terminated, engine.truncated, engine.rewards
        if self.copy:
            terminated, truncated, rewards = terminated.copy(), truncated.copy(), rewards.copy()
        return split(engine, self._dtype, observations), rewards, terminated, truncated, info

    def render(self) -> tuple[Any, ...] | None:
        """A frame a lane, as Gymnasium's wrappers expect them; None for "human" and no mode.

        The recorded lane's shows its episode so far, the others' are blank and the same array.

        Raises:
            RuntimeError: Before the first reset, or "human" without a display.
        """
        frame = self._pictures.render(self.engine)
        if frame is None:
            return None
        frames = [np.full_like(frame, BLANK)] * self.num_envs
        frames[self.engine.recorded_lane or 0] = frame
        return tuple(frames)

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads and close the window."""
        self._pictures.close()
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
        indices, levels = read_actions(self.engine, actions, len(index))
        self._require_running(index)
        observations = np.empty((len(index), self.engine.width), np.float32)
        try:
            results = self.engine.step_some(index, indices, levels, observations)
        except RefusedActionError as refused:
            raise describe_refusal(self.engine, actions, refused.lane) from None
        return self._subset(index, observations), *results

    # --- parts -------------------------------------------------------------------------------

    def _buffer(self) -> Float32:
        return np.empty_like(self._observations) if self.copy else self._observations

    def _require_running(self, index: Int64 | None = None) -> None:
        engine = self.engine
        if not engine.seeded:
            raise RuntimeError("step before the first reset.")
        if self.autoreset_mode is AutoresetMode.DISABLED:
            ended = engine.lanes["ended"] if index is None else engine.lanes["ended"][index]
            if ended.any():
                lane = int(ended.argmax()) if index is None else int(index[ended.argmax()])
                raise RuntimeError(
                    f"lane {lane} has ended and autoreset is disabled: reset it with "
                    "options={'reset_mask': mask} first."
                )

    def _end_episodes(self, observations: Float32) -> dict[str, Any]:
        """The info of ended episodes; in SAME_STEP mode also the reset of their lanes."""
        engine = self.engine
        ended = engine.terminated | engine.truncated
        metrics = {"metrics": engine.metric_columns(ended), "_metrics": ended}
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return metrics
        finals = np.full(self.num_envs, None, dtype=object)
        rows = engine.finals[ended]
        batch = self._subset(np.flatnonzero(ended), rows)
        for place, lane in enumerate(np.flatnonzero(ended).tolist()):
            finals[lane] = _member(batch, place)
        info = metrics | {"final_obs": finals, "_final_obs": ended.copy()}
        final_info = self._info.batch(ended) | metrics | {"_metrics": ended.copy()}
        info |= {"final_info": final_info, "_final_info": ended.copy()}
        engine.reset(ended, observations, observe_all=False)
        return info

    def _subset(self, index: Int64, rows: Float32) -> Any:
        """The observations `rows`, float32 (k, width), of the lanes of `index`."""
        engine = self.engine
        if not engine.indexed:
            return split(engine, self._dtype, rows)
        members: dict[str, Any] = {self.layout[-1].key: rows}
        members["decision_index"] = engine.decision_index()[index]
        if len(self.markets) > 1:
            members["market"] = engine.lanes["market"][index]
        return members


def _member(batch: Any, place: int) -> Any:
    """One lane's part of a batch of observations."""
    if isinstance(batch, dict):
        return {key: value[place] for key, value in batch.items()}
    return batch[place]


class VectorSLTPEnv(VectorTradeEnv):
    """The jitted batch of ``Trade-SLTP-v0``."""

    config_class = SLTPConfig


class VectorOneStepEnv(VectorTradeEnv):
    """The jitted batch of ``Trade-OneStep-v0``."""

    config_class = OneStepConfig

    def go_on(self) -> tuple[Bool, Bool]:
        """Let lanes whose rollout is over begin the next one where it ended, its account kept.

        One rollout after the other is then a walk over a period, with one equity curve: metrics,
        bankruptcy and rewards that look back count from the last reset on. The observation that the
        step has returned is the next rollout's first. Autoreset must be disabled.

        Returns:
            (terminated, truncated), bool (num_envs,) each: lanes that stay ended, since they are
            bankrupt, or else at the end of the data.

        Raises:
            RuntimeError: Autoreset is not disabled.
        """
        if self.autoreset_mode is not AutoresetMode.DISABLED:
            raise RuntimeError("go_on needs autoreset_mode='Disabled'.")
        return self.engine.go_on()
