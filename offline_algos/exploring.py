"""What fills a replay memory: environments that a policy in training explores."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from tianshou.data import CollectStats
from tianshou.env import BaseVectorEnv
from tqdm import tqdm

from data_tools.noise import random_actions
from data_tools.statistics import LIMIT
from offline_algos.legal_actions import LegalActions
from offline_algos.normalisation import Normaliser
from offline_algos.replay_memory import ReplayMemory

# Normalised observations (lanes, D) and a generator to actions: int64 (lanes,), or float32
# (lanes, A) in [-1, 1].
Explore = Callable[[torch.Tensor, np.random.Generator], npt.NDArray[Any]]


class Explorer:
    """Steps environments into a memory; Tianshou's trainer takes it as its collector.

    Tianshou's own looks at every parameter's mode and at every episode's rows again, and knows
    nothing of a normaliser. Every epoch begins with new episodes whose seeds, like all random
    choices of this class, follow from the run's seed and the epoch's number: so an interrupted run
    can go on with the next epoch although no environment can be saved.

    Args:
        env: Tianshou's vector of environments, flat observations, without autoreset.
        memory: Takes the transitions, with normalised observations.
        normaliser: Filled by `warm_up`.
        seed: Of the run.
        legal: Masks illegal actions; None where there are none.

    Attributes:
        explore: Chooses actions; None until an algorithm is there.
        check: Is called after each step; may raise.
        reward_scale: Rewards are divided by it.
        collect_step: Steps of all lanes together since the last `reset`, as Tianshou calls it.
        collect_episode: Episodes that have ended.
        collect_time: Seconds.
    """

    def __init__(
        self,
        env: BaseVectorEnv,
        memory: ReplayMemory,
        normaliser: Normaliser,
        seed: int,
        legal: LegalActions | None = None,
    ) -> None:
        self.env, self.buffer, self.normaliser = env, memory, normaliser
        self.explore: Explore | None = None
        self.check: Callable[[], None] = lambda: None
        self.reward_scale = 1.0
        self._seed, self._legal = seed, legal
        self._space = env.get_env_attr("action_space", [0])[0]
        self._lanes = np.arange(len(env))
        self._returns, self._lengths = np.zeros(len(env)), np.zeros(len(env), np.int64)
        self.reset()

    def reset(self, **keywords: Any) -> None:
        """Forget what was counted; the environments are reset by `begin_epoch`."""
        self.collect_step, self.collect_episode, self.collect_time = 0, 0, 0.0

    def begin_epoch(self, epoch: int) -> None:
        """Begin a new episode in every lane; epoch 0 is that of the random steps."""
        self._random = np.random.default_rng((self._seed, epoch))
        self.buffer.end_episodes()
        self.env.seed([int(seed) for seed in self._random.integers(2**31, size=len(self._lanes))])
        observations, _ = self.env.reset()
        self._observations = self.normaliser(observations)
        self._returns[:], self._lengths[:] = 0.0, 0

    def warm_up(
        self,
        steps: int,
        *,
        norm_obs: bool,
        norm_reward: bool,
        bound: float = LIMIT,
        show_progress: bool = False,
    ) -> None:
        """Take random actions, then normalise by what they met: once, the same from then on.

        Args:
            steps: Of all lanes together, rounded up.
            norm_obs: Fill the normaliser with the observations' mean and deviation.
            bound: How many deviations they can reach then.
            norm_reward: Divide rewards by their deviation.
            show_progress: Show a progress bar on stderr.
        """
        self.begin_epoch(0)
        with tqdm(total=steps, desc="random steps", leave=False, disable=not show_progress) as bar:
            for _ in range(-(-steps // len(self._lanes))):
                self._step(self._random_actions())
                bar.update(len(self._lanes))
        if norm_obs:
            statistics = self.buffer.statistics()._replace(bound=bound)
            self.normaliser.fill(statistics)
            self.buffer.normalise(statistics)
        if norm_reward:
            self.reward_scale = self.buffer.reward_deviation()
            self.buffer.scale_rewards(self.reward_scale)

    def collect(
        self, n_step: int | None = None, n_episode: int | None = None, **keywords: Any
    ) -> CollectStats:
        """Step all lanes until there are `n_step` transitions more, as Tianshou's trainer asks."""
        if n_step is None or self.explore is None:
            raise ValueError("collect needs n_step, and an algorithm that explores.")
        started, ended = time.perf_counter(), []
        for _ in range(-(-n_step // len(self._lanes))):
            ended += self._step(self.explore(self._observations, self._random))
        stats = CollectStats.with_autogenerated_stats(
            returns=np.array([value for value, _ in ended], np.float64),
            lens=np.array([length for _, length in ended], np.int64),
            n_collected_episodes=len(ended),
            n_collected_steps=-(-n_step // len(self._lanes)) * len(self._lanes),
        )
        stats.set_collect_time(time.perf_counter() - started)
        self.collect_step += stats.n_collected_steps
        self.collect_episode += len(ended)
        self.collect_time += stats.collect_time
        return stats

    def _random_actions(self) -> npt.NDArray[Any]:
        """Evenly drawn actions, as a policy gives them: legal ones."""
        if self._legal is not None:
            mask = self._legal.mask(self._observations).cpu().numpy()
            return random_actions(self._space, len(self._lanes), self._random, mask)
        if isinstance(self._space, gym.spaces.Discrete):
            return self._random.integers(self._space.n, size=len(self._lanes))
        shape = (len(self._lanes), *self._space.shape)
        return self._random.uniform(-1.0, 1.0, shape).astype(np.float32)

    def _to_environment(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if isinstance(self._space, gym.spaces.Discrete):
            return actions
        low, high = self._space.low, self._space.high
        return np.clip(actions * ((high - low) / 2) + (high + low) / 2, low, high)

    def _step(self, actions: npt.NDArray[Any]) -> list[tuple[float, int]]:
        """Step every lane once; return and length of each episode that ends."""
        observations, rewards, terminated, truncated, _ = self.env.step(
            self._to_environment(actions)
        )
        self.check()
        rewards = np.asarray(rewards, np.float64)
        following = self.normaliser(observations)
        self.buffer.add(
            self._observations, actions, rewards / self.reward_scale, terminated, truncated,
            following,
        )  # fmt: skip
        self._observations = following
        self._returns += rewards
        self._lengths += 1
        lanes = np.flatnonzero(terminated | truncated)
        if len(lanes) == 0:
            return []
        made = list(zip(self._returns[lanes].tolist(), self._lengths[lanes].tolist(), strict=True))
        self._returns[lanes], self._lengths[lanes] = 0.0, 0
        begun, _ = self.env.reset(lanes)
        self._observations[torch.from_numpy(lanes)] = self.normaliser(begun)
        return made

    def close(self) -> None:
        """Close the environments."""
        self.env.close()

    def state(self) -> dict[str, Any]:
        """What a run that goes on after an epoch must know."""
        return {
            "memory": self.buffer.state(),
            "normaliser": dict(self.normaliser.state_dict()),
            "reward_scale": self.reward_scale,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.buffer.restore(state["memory"])
        self.normaliser.load_state_dict(state["normaliser"])
        self.reward_scale = state["reward_scale"]
