"""The jitted vector environment as Tianshou's Collector wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv
from tianshou.env import BaseVectorEnv

from offline_algos.actors import Actor
from offline_algos.rollout_walk import RolloutWalk

Ids = int | Sequence[int] | npt.NDArray[np.integer[Any]] | None


class TradeVectorEnv(BaseVectorEnv):
    """Tianshou's `BaseVectorEnv` over one `gym_trade.VectorTradeEnv`.

    Tianshou resets finished lanes itself and steps any subset of them, so the environment must not
    reset on its own: make it with ``autoreset_mode="Disabled"``. There are no worker processes and
    no Python object per lane. Infos stay empty: filling them would cost more than the steps.

    Args:
        env: A vector environment with flat observations and autoreset disabled.
        replay_seed: With a seed, every reset starts the same episode again (lane i with seed + i),
            which makes repeated evaluations comparable. None: every reset is a new episode.
        listener: Is told which lanes begin an episode and what each step has earned, see
            `actors.Actor`.

    Raises:
        ValueError: Autoreset is on, or observations are not flat.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        replay_seed: int | None = None,
        listener: Actor | None = None,
    ) -> None:
        # BaseVectorEnv.__init__ would start one worker per lane; its attributes are set here.
        mode = env.metadata.get("autoreset_mode")
        if mode is not gym.vector.AutoresetMode.DISABLED:
            raise ValueError(
                f"autoreset_mode={mode!r}: Tianshou resets finished lanes itself. Make the "
                'environment with autoreset_mode="Disabled".'
            )
        if not isinstance(env.single_observation_space, gym.spaces.Box):
            raise ValueError(
                f"observations are {type(env.single_observation_space).__name__}, expected a flat "
                'Box. Make the environment with observation="flat".'
            )
        self.env: Any = env
        self.env_num = env.num_envs
        self.is_async = False
        self.is_closed = False
        self._replay_seed, self._listener = replay_seed, listener
        self._pending_seeds: list[int | None] = [None] * self.env_num
        self._all = np.arange(self.env_num)

    def _lanes(self, ids: Ids) -> npt.NDArray[np.int64]:
        return self._all if ids is None else np.atleast_1d(np.asarray(ids, dtype=np.int64))

    def _infos(self, lanes: int) -> npt.NDArray[np.object_]:
        infos = np.empty(lanes, dtype=object)
        infos[:] = [{} for _ in range(lanes)]
        return infos

    def get_env_attr(self, key: str, id: Ids = None) -> list[Any]:
        """An attribute per lane: all lanes share the environment's (single) one."""
        self._assert_is_not_closed()
        single = f"single_{key}" if key in ("action_space", "observation_space") else key
        return [getattr(self.env, single)] * len(self._lanes(id))

    def set_env_attr(self, key: str, value: Any, id: Ids = None) -> None:
        """Refused: lanes have no attributes of their own."""
        raise NotImplementedError(f"lanes share one environment: {key} cannot be set per lane.")

    def seed(self, seed: int | list[int] | None = None) -> list[list[int] | None]:
        """Seed the lanes' next reset; an integer gives lane i the seed + i."""
        self._assert_is_not_closed()
        if seed is None or isinstance(seed, int):
            seeds = [None if seed is None else seed + lane for lane in range(self.env_num)]
        else:
            seeds = list(seed)
            if len(seeds) != self.env_num:
                raise ValueError(f"{len(seeds)} seeds for {self.env_num} lanes.")
        self._pending_seeds = seeds
        return [None if value is None else [value] for value in seeds]

    def reset(self, env_id: Ids = None, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Reset the lanes `env_id` (None: all).

        Returns:
            Their observations, float32 (n, D), and n empty infos.
        """
        self._assert_is_not_closed()
        lanes = self._lanes(env_id)
        mask = np.zeros(self.env_num, dtype=bool)
        mask[lanes] = True
        observations, _ = self.env.reset(
            seed=self._seeds(mask, kwargs.pop("seed", None)), options={"reset_mask": mask}
        )
        if self._listener is not None:
            self._listener.begin(lanes)
        return np.array(observations[lanes]), self._infos(len(lanes))

    def _seeds(self, mask: npt.NDArray[np.bool_], seed: int | None) -> list[int | None]:
        if seed is None:
            seed = self._replay_seed
        if seed is not None:
            return [seed + lane if mask[lane] else None for lane in range(self.env_num)]
        seeds = [self._pending_seeds[lane] if mask[lane] else None for lane in range(self.env_num)]
        for lane in np.flatnonzero(mask):
            self._pending_seeds[lane] = None
        return seeds

    def step(
        self, action: Any, id: Ids = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Step the lanes `id` (None: all), which must not have ended.

        Args:
            action: One action a lane, in the order of `id`.
            id: Lanes.

        Returns:
            obs float32 (n, D), rew float64 (n,), terminated and truncated bool (n,), empty infos.
        """
        self._assert_is_not_closed()
        lanes = self._lanes(id)
        action = np.asarray(action)
        if np.array_equal(lanes, self._all):
            outcome = self.env.step(action)[:4]
        else:
            outcome = self.env.unwrapped.step_lanes(lanes, action)
        observations, rewards, terminated, truncated = (np.array(part) for part in outcome)
        if self._listener is not None:
            self._listener.observe(lanes, rewards)
            if isinstance(self.env.unwrapped, RolloutWalk):  # a rollout is an episode of the data
                self._listener.begin(lanes)
        return observations, rewards, terminated, truncated, self._infos(len(lanes))

    def render(self, **kwargs: Any) -> list[Any]:
        """Refused: evaluation has no picture."""
        raise NotImplementedError("the vector environment draws nothing.")

    def close(self) -> None:
        """Close the environment."""
        self._assert_is_not_closed()
        self.env.close()
        self.is_closed = True
