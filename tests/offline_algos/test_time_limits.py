"""A time limit is no death: a balanced pole, cut after five steps, is worth what would follow.

With a reward of 1 a step and a discount of 0.8 a pole that never falls is worth 5. Taken for a
death, the cut leaves at most 1 + 0.8 + ... + 0.8^4 = 3.4, and less the nearer it is.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import tianshou.algorithm as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy

from benchmarks.controllers import balance
from data_tools.hdf5 import load_buffer
from data_tools.rollouts import record
from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.discrete_iql import DiscreteIQL
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

GAMMA, LIMIT, WORTH = 0.8, 5, 5.0
INPUTS = Inputs([("observation", 0, 4, (4,))], hidden_sizes=(32, 32))
ACTIONS = spaces.Discrete(2)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A pole that hardly ever falls within the limit."""
    path = tmp_path_factory.mktemp("limit") / "cut.hdf5"
    record("CartPole-v1", partial(balance, noise=0.1), path, buffer_size=2000,
           policy={"name": "balance"}, make_arguments={"max_episode_steps": LIMIT})  # fmt: skip
    buffer, _ = load_buffer(path)
    assert buffer.truncated.sum() == 2000 / LIMIT and not buffer.terminated.any()
    return buffer


def networks(kind):
    torch.manual_seed(0)
    made = [ValueNetwork(INPUTS, 2) for _ in range(2)]
    return [batches.FromNumpy(one) for one in made] if kind is stock.DiscreteCRR else made


def crr(kind):
    actor, critic = networks(kind)
    if kind is stock.DiscreteCRR:
        critic = FirstOf(critic)
    policy = DiscreteActorPolicy(actor=actor, action_space=ACTIONS)
    return kind(policy=policy, critic=critic, optim=FusedAdam(lr=3e-3), gamma=GAMMA,
                target_update_freq=10, min_q_weight=0.0)  # fmt: skip


class FirstOf(torch.nn.Module):
    """The values alone, as Tianshou's critic returns them."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, obs):
        return self.network(obs)[0]


def worth(critic, buffer):
    """What the data's actions are worth in the middle of the learned values."""
    with torch.no_grad():
        values = critic(torch.as_tensor(buffer.obs))
    values = values[0] if isinstance(values, tuple) else values
    return values[torch.arange(len(buffer)), torch.as_tensor(buffer.act)].mean().item()


def test_crr_sees_through_the_cut_and_tianshou_s_does_not(cut):
    ours, theirs = crr(DiscreteCRR), crr(stock.DiscreteCRR)
    batches.run_ours(ours, cut, 600, 64)
    batches.run_stock(theirs, cut, 600, 64)
    assert worth(ours.critic, cut) == pytest.approx(WORTH, rel=0.05)
    assert worth(theirs.critic, cut) < 3.4


def test_iql_sees_through_the_cut(cut):
    torch.manual_seed(0)
    actor, critic, critic2 = (ValueNetwork(INPUTS, 2) for _ in range(3))
    algorithm = DiscreteIQL(
        policy=DiscreteActorPolicy(actor=actor, action_space=ACTIONS),
        policy_optim=FusedAdam(lr=3e-3), critic=critic, critic2=critic2,
        critic_optim=FusedAdam(lr=3e-3), value=ValueNetwork(INPUTS, 1),
        value_optim=FusedAdam(lr=3e-3), gamma=GAMMA, tau=0.1,
    )  # fmt: skip
    batches.run_ours(algorithm, cut, 600, 64)
    assert worth(algorithm.critic, cut) == pytest.approx(WORTH, rel=0.05)
    assert np.isfinite(worth(algorithm.critic2, cut))
