"""Discrete CRR, ours and Tianshou's, on small networks and batches."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.updates import FusedAdam

COLUMNS, ACTIONS, ROWS = 4, 3, 40


class Network(ValueNetwork):
    """Also reads arrays, as Tianshou gives them."""

    def __init__(self, columns: int = COLUMNS):
        super().__init__(Inputs([("obs", 0, columns, (columns,))], hidden_sizes=(16,)), ACTIONS)

    def forward(self, obs, state=None, info=None):
        return super().forward(torch.as_tensor(obs), state)


class Values(Network):
    """Values alone, as Tianshou's critics return them."""

    def forward(self, obs):
        return super().forward(obs)[0]


def build(method=DiscreteCRR, optim=None, columns: int = COLUMNS, critic=Values, **arguments):
    torch.manual_seed(0)
    policy = DiscreteActorPolicy(actor=Network(columns), action_space=spaces.Discrete(ACTIONS))
    optim = optim or FusedAdam(lr=1e-3)
    return method(policy=policy, critic=critic(columns), optim=optim, **arguments)


def update(algorithm, buffer, steps: int, size: int = 16) -> None:
    with policy_within_training_step(algorithm.policy):
        for _ in range(steps):
            algorithm.update(buffer, size)


def weights(algorithm) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of the actor and of the critic."""
    return [*algorithm.policy.actor.parameters()], [*algorithm.critic.parameters()]


def fixed_batch(rows: int = 24) -> Batch:
    """Every fifth row ended; ``done`` is for Tianshou."""
    torch.manual_seed(1)
    ended = torch.arange(rows) % 5 == 0
    batch = Batch(
        obs=torch.randn(rows, COLUMNS, dtype=torch.float64),
        obs_next=torch.randn(rows, COLUMNS, dtype=torch.float64),
        rew=2.0 * torch.randn(rows, dtype=torch.float64),
        discount=torch.where(ended, 0.0, 0.9).double(),
        done=ended,
    )
    batch.act = torch.randint(ACTIONS, (rows,))
    return batch


def strong_opinions(algorithm, scale: float = 8.0):
    """Advantages large enough for exp's bound and unequal enough to matter."""
    with torch.no_grad():
        for module in (algorithm.policy.actor, algorithm.critic):
            module.head.weight *= scale
    return algorithm.double()


def reference(algorithm, batch, mode: str, target=None, beta: float = 1.0, bound: float = 20.0):
    """Losses of actor, critic and conservative term, row by row, and each row's advantage.

    `target` are the target networks, actor and critic.
    """
    actor, critic = algorithm.policy.actor, algorithm.critic
    target_actor, target_critic = target or (actor, critic)
    actor_loss, critic_loss, conservative, advantages = 0.0, 0.0, 0.0, []
    rows = len(batch.act)
    for row in range(rows):
        now, then, act = batch.obs[row : row + 1], batch.obs_next[row : row + 1], batch.act[row]
        values, policy = critic(now)[0], actor(now)[0][0].softmax(0)
        with torch.no_grad():
            likelihood, following = target_actor(then)[0][0].softmax(0), target_critic(then)[0]
            ahead = sum(likelihood[a] * following[a] for a in range(ACTIONS))
            aim = batch.rew[row] + batch.discount[row] * ahead
            advantage = float(values[act] - sum(policy[a] * values[a] for a in range(ACTIONS)))
        weight = {
            "exp": min(math.exp(advantage / beta), bound),
            "binary": float(advantage > 0.0),
            "all": 1.0,
        }[mode]
        actor_loss = actor_loss - weight * torch.log(policy[act]) / rows
        critic_loss = critic_loss + 0.5 * (values[act] - aim) ** 2 / rows
        conservative = conservative + (torch.log(values.exp().sum()) - values[act]) / rows
        advantages.append(advantage)
    return actor_loss, critic_loss, conservative, advantages


def gradients(method, mode: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of actor and critic after a step on the fixed batch."""
    algorithm = build(
        method, AdamOptimizerFactory(lr=0.0), policy_improvement_mode=mode, gamma=0.9,
        min_q_weight=0.0,
    )  # fmt: skip
    strong_opinions(algorithm)._update_with_batch(fixed_batch())
    of_actor, of_critic = weights(algorithm)
    return [w.grad for w in of_actor], [w.grad for w in of_critic]


def expected_gradients(mode: str):
    algorithm = strong_opinions(build())
    actor_loss, critic_loss, _, advantages = reference(algorithm, fixed_batch(), mode)
    of_actor, of_critic = weights(algorithm)
    made = torch.autograd.grad(actor_loss, of_actor), torch.autograd.grad(critic_loss, of_critic)
    return *made, advantages


def chain() -> ReplayBuffer:
    """Action 1 twice earns 1, which the data rarely does; action 0 ends with 0.5, then 0."""
    made, eye = ReplayBuffer(100), np.eye(2, dtype=np.float32)
    for row in range(100):
        state, action = row % 2, int(row % 10 >= 8)
        over = not (state == 0 and action == 1)
        made.add(
            Batch(
                obs=eye[state], obs_next=eye[1], act=action,
                rew=[[0.5, 0.0], [0.0, 1.0]][state][action],
                terminated=over, truncated=False, done=over, info={},
            )
        )  # fmt: skip
    return made
