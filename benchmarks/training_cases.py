"""Both sides of the training benchmark: our scripts' algorithms, and Tianshou's own.

The same widths, data, batch size and hyperparameters, one thread. What is not alike: ours has
`FusedAdam`, a `TensorReplayBuffer` and targets that mask terminations only; Tianshou's gets its own
networks (`Net` and its heads), `Adam` and `ReplayBuffer`. Where ours corrects the mathematics, the
rows compare what each calls by the same name.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from tianshou import algorithm as stock
from tianshou.algorithm.imitation.bcq import BCQPolicy
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy, OfflineImitationLearning
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.net.common import MLP, Net
from tianshou.utils.net.continuous import (
    VAE,
    ContinuousActorDeterministic,
    ContinuousActorProbabilistic,
    ContinuousCritic,
    Perturbation,
)
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from benchmarks.peers.side import ACTIONS, ROWS, draw
from data_tools.buffers import TensorReplayBuffer
from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser

QUANTILES = 200
BOX = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
DISCRETE = gym.spaces.Discrete(ACTIONS)


class Size(NamedTuple):
    """Columns of an observation, widths of the hidden layers, and transitions in a batch."""

    columns: int
    hidden: tuple[int, ...]
    batch: int

    def __str__(self) -> str:
        return f"{self.columns}, {list(self.hidden)}, {self.batch}"


LARGE, LITTLE = Size(266, (256, 256), 256), Size(16, (64, 64), 64)


class TrainingCase(NamedTuple):
    """A method: our script, its flags beside the sizes, and the ratios to Tianshou's asked for.

    `stock` makes Tianshou's algorithm; None where it has none. `alike` says whether the mathematics
    is unchanged, so that parameters can be compared.
    """

    name: str
    script: str
    flags: tuple[str, ...]
    stock: Callable[[Size], Any] | None
    aims: dict[Size, float]
    alike: bool = False


def transitions(size: Size, *, continuous: bool, seed: int = 0) -> ReplayBuffer:
    """Random transitions, an episode every 1000 rows; see `side.draw`."""
    drawn = draw(size.columns, continuous=continuous, seed=seed)
    done = drawn["terminated"]
    made = ReplayBuffer(ROWS, random_seed=seed)
    made._meta = Batch(**drawn, truncated=done & False, done=done, info=Batch(), policy=Batch())
    made._size, made._insertion_idx = ROWS, 0
    made.last_index = np.array([ROWS - 1])
    return made


def ours(case: TrainingCase, size: Size, data: ReplayBuffer) -> tuple[Any, Any]:
    """(algorithm, the buffer that it samples), as our script makes them."""
    script = importlib.import_module(f"offline_algos.{case.script}")
    widths = [str(width) for width in size.hidden]
    flags = ["--load-buffer-name", "-", "--device", "cpu", "--hidden-sizes", *widths, *case.flags]
    args = script.make_parser().parse_args(flags)
    space = BOX if case.script.startswith("d4rl") else DISCRETE
    columns = gym.spaces.Box(-np.inf, np.inf, (size.columns,), np.float32)
    bounds = {"low": [-1.0], "high": [1.0]}
    task = SimpleNamespace(
        action_space=space, observation_space=columns, bounds=bounds, action_masks=None
    )
    setup = SimpleNamespace(
        task=task, normaliser=Normaliser.identity(size.columns),
        inputs=Inputs([("all", 0, size.columns, (size.columns,))], "mlp", size.hidden),
    )  # fmt: skip
    algorithm, _ = script.build(args, setup)
    return algorithm, algorithm.process_buffer(TensorReplayBuffer(data))


def _adam() -> AdamOptimizerFactory:
    return AdamOptimizerFactory(lr=1e-4)


def _net(size: Size, **arguments: Any) -> Net:
    return Net(state_shape=(size.columns,), hidden_sizes=size.hidden, **arguments)


def _critic(size: Size) -> ContinuousCritic:
    return ContinuousCritic(preprocess_net=_net(size, action_shape=(1,), concat=True))


def stock_discrete_il(size: Size) -> Any:
    """Tianshou's behaviour cloning of discrete actions."""
    policy = ImitationPolicy(
        actor=_net(size, action_shape=ACTIONS), action_space=DISCRETE, action_bound_method=None
    )
    return OfflineImitationLearning(policy=policy, optim=_adam())


def stock_discrete_bcq(size: Size) -> Any:
    """Tianshou's discrete BCQ."""
    policy = DiscreteBCQPolicy(
        model=_net(size, action_shape=ACTIONS), imitator=_net(size, action_shape=ACTIONS),
        target_update_freq=500, action_space=DISCRETE,
    )  # fmt: skip
    return stock.DiscreteBCQ(policy=policy, optim=_adam(), target_update_freq=500)


def stock_discrete_cql(size: Size) -> Any:
    """Tianshou's discrete CQL."""
    model = _net(size, action_shape=ACTIONS, num_atoms=QUANTILES)
    policy = QRDQNPolicy(model=model, action_space=DISCRETE)
    return stock.DiscreteCQL(
        policy=policy, optim=_adam(), num_quantiles=QUANTILES, target_update_freq=500
    )


def stock_discrete_crr(size: Size) -> Any:
    """Tianshou's discrete CRR."""
    actor = DiscreteActor(preprocess_net=_net(size), action_shape=ACTIONS, softmax_output=False)
    critic = DiscreteCritic(preprocess_net=_net(size), last_size=ACTIONS)
    policy = DiscreteActorPolicy(actor=actor, action_space=DISCRETE)
    return stock.DiscreteCRR(
        policy=policy, critic=critic, optim=_adam(), target_update_freq=500, min_q_weight=0.0
    )


def stock_il(size: Size) -> Any:
    """Tianshou's behaviour cloning of continuous actions."""
    actor = ContinuousActorDeterministic(preprocess_net=_net(size), action_shape=(1,))
    policy = ImitationPolicy(actor=actor, action_space=BOX)
    return OfflineImitationLearning(policy=policy, optim=_adam())


def stock_td3_bc(size: Size) -> Any:
    """Tianshou's TD3+BC."""
    actor = ContinuousActorDeterministic(preprocess_net=_net(size), action_shape=(1,))
    policy = ContinuousDeterministicPolicy(actor=actor, action_space=BOX)
    return stock.TD3BC(
        policy=policy, policy_optim=_adam(), critic=_critic(size), critic_optim=_adam(),
        critic2=_critic(size), critic2_optim=_adam(),
    )  # fmt: skip


def stock_bcq(size: Size) -> Any:
    """Tianshou's BCQ."""
    joined, latent, width = size.columns + 1, 2, size.hidden[0]
    vae = VAE(
        encoder=MLP(input_dim=joined, hidden_sizes=size.hidden),
        decoder=MLP(input_dim=size.columns + latent, output_dim=1, hidden_sizes=size.hidden),
        hidden_dim=width, latent_dim=latent, max_action=1.0,
    )  # fmt: skip
    change = MLP(input_dim=joined, output_dim=1, hidden_sizes=size.hidden)
    policy = BCQPolicy(
        actor_perturbation=Perturbation(preprocess_net=change, max_action=1.0, phi=0.05),
        critic=_critic(size), vae=vae, action_space=BOX,
    )  # fmt: skip
    return stock.BCQ(
        policy=policy, actor_perturbation_optim=_adam(), critic_optim=_adam(), vae_optim=_adam(),
        critic2=_critic(size),
    )  # fmt: skip


def stock_cql(size: Size) -> Any:
    """Tianshou's CQL."""
    actor = ContinuousActorProbabilistic(
        preprocess_net=_net(size), action_shape=(1,), unbounded=True, conditioned_sigma=True
    )
    policy = SACPolicy(actor=actor, action_space=BOX)
    return stock.CQL(
        policy=policy, policy_optim=_adam(), critic=_critic(size), critic_optim=_adam(),
        critic2=_critic(size), calibrated=False,
    )  # fmt: skip


def quiet(make: Callable[[Size], Any], size: Size) -> Any:
    """Make Tianshou's algorithm without its warnings; the weights begin at seed 0."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(size)


def _aims(large: float, little: float = 1.5) -> dict[Size, float]:
    return {LARGE: large, LITTLE: little}


CASES = (
    TrainingCase("discrete IL", "atari_style_il", (), stock_discrete_il, _aims(1.15)),
    TrainingCase("discrete BCQ", "atari_style_bcq", ("--target-update-freq", "500"),
                 stock_discrete_bcq, _aims(1.15)),
    TrainingCase("discrete CQL", "atari_style_cql", ("--num-quantiles", str(QUANTILES)),
                 stock_discrete_cql, _aims(12.0)),
    TrainingCase("discrete CRR", "atari_style_crr", ("--target-update-freq", "500"),
                 stock_discrete_crr, _aims(1.15)),
    TrainingCase("IL", "d4rl_style_il", (), stock_il, _aims(1.15)),
    TrainingCase("TD3+BC", "d4rl_style_td3_bc", (), stock_td3_bc, _aims(1.15)),
    TrainingCase("BCQ", "d4rl_style_bcq", (), stock_bcq, _aims(1.15)),
    TrainingCase("CQL", "d4rl_style_cql", ("--with-lagrange", "1", "--cql-weight", "1"),
                 stock_cql, _aims(3.5)),
)  # fmt: skip
# What stands beside other peers only (`benchmarks.training_peers`).
WITHOUT_STOCK = (TrainingCase("IQL", "d4rl_style_iql", (), None, {}),)
