"""Any other Gymnasium task: what is learned from a dataset of it, and how it is judged.

Episodes with fixed seeds, some for validation and others for the test, so that every policy meets
the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from tianshou.algorithm.algorithm_base import Policy
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv

from data_tools.gym_environments import make_environment
from offline_algos.actors import Actor, ActorPolicy

VALIDATION_SEED, TEST_SEED = 10_000, 20_000


class Flat(gym.Wrapper[Any, Any, Any, Any]):
    """Observations come as flat float32, without an info; `seed` is that of the next reset."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._next_seed: int | None = None

    def seed(self, seed: int | None) -> None:
        """Let the next reset, and the episodes after it, follow from a seed."""
        self._next_seed = seed

    def reset(self, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, _ = self.env.reset(seed=self._next_seed)
        self._next_seed = None
        return flat(observation), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's, without its info."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        return flat(observation), reward, terminated, truncated, {}


class FixedSeed(Flat):
    """Every reset begins the episode of one seed."""

    def __init__(self, env: gym.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self._seed = seed

    def reset(self, **keywords: Any) -> tuple[Any, dict[str, Any]]:
        """Begin the episode again."""
        self.seed(self._seed)
        return super().reset()


def flat(observation: Any) -> npt.NDArray[np.float32]:
    """An observation as the datasets hold it."""
    return np.asarray(observation, np.float32).reshape(-1)


class ListeningVectorEnv(DummyVectorEnv):
    """Tianshou's vector of environments, which tells an actor what happens in it."""

    def __init__(self, makers: Sequence[Any], listener: Actor | None = None) -> None:
        super().__init__(list(makers))
        self._listener = listener

    def reset(self, env_id: Any = None, **keywords: Any) -> Any:
        """As Tianshou's."""
        made = super().reset(env_id, **keywords)
        if self._listener is not None:
            self._listener.begin(self._lanes(env_id))
        return made

    def step(self, action: Any, id: Any = None) -> Any:
        """As Tianshou's."""
        made = super().step(action, id)
        if self._listener is not None:
            self._listener.observe(self._lanes(id), np.asarray(made[1], np.float64))
        return made

    def _lanes(self, ids: Any) -> npt.NDArray[np.int64]:
        every = np.arange(self.env_num)
        return every if ids is None else np.atleast_1d(np.asarray(ids, np.int64))


class RandomPolicy(Policy):
    """Actions drawn evenly from the space, with a seed."""

    def __init__(self, action_space: gym.Space[Any]) -> None:
        super().__init__(action_space=action_space, action_scaling=False, action_bound_method=None)
        action_space.seed(TEST_SEED)

    def forward(self, batch: Any, state: Any = None, **keywords: Any) -> Any:
        """``act`` for ``batch.obs``."""
        drawn = [self.action_space.sample() for _ in range(len(batch.obs))]
        return Batch(act=np.array(drawn), state=state)


class ActionBounds:
    """What every task says about its actions."""

    action_space: gym.spaces.Discrete | gym.spaces.Box

    @property
    def action_masks(self) -> list[list[int]] | None:
        """Which actions a position leaves, see `actors.ActionMasks`; None: all of them, always."""
        return None

    @property
    def bounds(self) -> dict[str, list[float]]:
        """``low`` and ``high`` of continuous actions, as actors take them."""
        assert isinstance(self.action_space, gym.spaces.Box)
        return {"low": self.action_space.low.tolist(), "high": self.action_space.high.tolist()}


@dataclass(frozen=True)
class GymTask(ActionBounds):
    """A registered Gymnasium task.

    Attributes:
        name: Its id.
        episodes: Episodes of a validation, and of the test.
        action_space: Discrete actions, or the box of continuous ones.
        observation_space: Flat observations.
        layout: A single part.
        image_shape: The shape of a stack of frames, where observations are images: policies see
            them flat as well.
    """

    name: str
    episodes: int
    action_space: gym.spaces.Discrete | gym.spaces.Box
    observation_space: gym.spaces.Box
    layout: tuple[Any, ...]
    image_shape: tuple[int, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says about the task: JSON-able."""
        discrete = isinstance(self.action_space, gym.spaces.Discrete)
        return {
            "action_space": {"n": int(self.action_space.n)} if discrete else self.bounds,  # type: ignore[union-attr]
            "configuration": {},
            "evaluation": {
                "episodes": self.episodes,
                "validation_seed": VALIDATION_SEED,
                "test_seed": TEST_SEED,
            },
        }

    def describe(self) -> str:
        """A line about how policies are judged."""
        return f"validation and test: {self.episodes} episodes each, of fixed seeds"

    def validation_collector(self, actor: Actor) -> Collector:
        """Tianshou's Collector for the validation episodes, one an environment."""
        policy = ActorPolicy(actor, self.action_space)
        return self._collector(policy, VALIDATION_SEED, actor)

    @property
    def validation_episodes(self) -> int:
        """Episodes that a validation collects."""
        return self.episodes

    def returns(self, policy: Policy, listener: Actor | None = None) -> npt.NDArray[np.float64]:
        """Returns of the test episodes, float64 (episodes,)."""
        collector = self._collector(policy, TEST_SEED, listener)
        collector.reset()
        collected = collector.collect(n_episode=self.episodes).returns
        returns: npt.NDArray[np.float64] = np.asarray(collected, np.float64)
        return returns

    def environment(self, **arguments: Any) -> gym.Env[Any, Any]:
        """One of its environments, with further arguments of ``gym.make``."""
        return make_environment(self.name, self.image_shape, **arguments)

    def _collector(self, policy: Policy, seed: int, listener: Actor | None) -> Collector:
        makers = [
            lambda number=number: FixedSeed(self.environment(), seed + number)
            for number in range(self.episodes)
        ]
        environments = ListeningVectorEnv(makers, listener)
        # nothing is learned from what is collected: a row an environment is enough
        return Collector(policy, environments, VectorReplayBuffer(len(makers), len(makers)))


def open_gym_task(name: str, episodes: int, image_shape: tuple[int, ...] | None = None) -> GymTask:
    """Look a registered task up.

    Args:
        name: Its id.
        episodes: Episodes of a validation, and of the test.
        image_shape: Where the dataset has images, the shape of a stack of frames.

    Raises:
        ValueError: There is none, or its spaces are not flat ones.
    """
    env = make_environment(name, image_shape)
    observations, actions = env.observation_space, env.action_space
    env.close()
    box = isinstance(actions, gym.spaces.Box) and actions.is_bounded() and actions.shape
    if not isinstance(observations, gym.spaces.Box):
        raise ValueError(f"--task {name}: its observations are {observations}, not a Box.")
    if not isinstance(actions, gym.spaces.Discrete) and not (box and len(actions.shape or ()) == 1):
        raise ValueError(f"--task {name}: its actions are {actions}: neither discrete nor a box.")
    columns = int(np.prod(observations.shape))
    space = gym.spaces.Box(-np.inf, np.inf, (columns,), np.float32)
    layout = (("observation", 0, columns, tuple(observations.shape)),)
    return GymTask(name, episodes, actions, space, layout, image_shape)  # type: ignore[arg-type]
