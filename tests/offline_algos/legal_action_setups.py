"""Methods whose task has illegal actions, a batch, and their losses written out row by row."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.imitation.discrete_bcq import DiscreteBCQPolicy
from tianshou.algorithm.imitation.imitation_base import ImitationPolicy
from tianshou.algorithm.modelfree.qrdqn import QRDQNPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import TorchOptimizerFactory
from tianshou.data import Batch

from offline_algos.actors import DIRECTION_COLUMN
from offline_algos.discrete_bcq import DiscreteBCQ
from offline_algos.discrete_cql import DiscreteCQL
from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.discrete_iql import DiscreteIQL
from offline_algos.imitation import DiscreteImitation
from offline_algos.legal_actions import LegalActions
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.qrdqn import QRDQN

COLUMNS, ACTIONS, ATOMS, ROWS, GAMMA = 7, 4, 5, 24, 0.9
# flat: no close; long: no long; short: no short. Hold, close, long, short.
MASKS = [[1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]
INPUTS = Inputs([("obs", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(16,))
METHODS = ("qrdqn", "cql", "bcq", "bcq all", "crr", "iql", "il")
LEVELS = [(number + 0.5) / ATOMS for number in range(ATOMS)]


class Illegal(torch.nn.Module):
    """A network whose numbers for illegal actions are another one's plus `more`."""

    def __init__(self, network, more):
        super().__init__()
        self.network, self.more = network, more

    def forward(self, obs, state=None, info=None):
        values, _ = self.network(obs)
        illegal = torch.tensor(MASKS)[obs[:, DIRECTION_COLUMN].long()] == 0
        illegal = illegal.reshape(*illegal.shape, *[1] * (values.ndim - 2))
        return values + self.more * illegal, state


def make(method, more=0.0, masks=MASKS):
    """An algorithm of double precision whose gradient steps have a rate of 1.

    Its target networks differ; `more` is added to what its networks say of illegal actions.
    """
    torch.manual_seed(0)
    quantiles = method in ("qrdqn", "cql")

    def network(outputs=ACTIONS):
        made = ValueNetwork(INPUTS, outputs, ATOMS if quantiles else 1)
        return Illegal(made, more) if outputs == ACTIONS else made

    def optim():
        return TorchOptimizerFactory(torch.optim.SGD, lr=1.0)

    space = spaces.Discrete(ACTIONS)
    common = {"gamma": GAMMA, "target_update_freq": 7}
    distribution = {"num_quantiles": ATOMS, "optim": optim()} | common
    if quantiles:
        policy = QRDQNPolicy(model=network(), action_space=space)
    elif method == "il":
        policy = ImitationPolicy(actor=network(), action_space=space, action_bound_method=None)
    elif method in ("bcq", "bcq all"):
        policy = DiscreteBCQPolicy(
            model=network(), imitator=network(), action_space=space,
            unlikely_action_threshold=0.0 if method == "bcq all" else 0.4,
        )  # fmt: skip
    else:
        policy = DiscreteActorPolicy(actor=network(), action_space=space)
    if method == "qrdqn":
        made = QRDQN(policy=policy, eps_first=1.0, eps_last=0.0, eps_steps=1000, **distribution)
    elif method == "cql":
        made = DiscreteCQL(policy=policy, min_q_weight=0.7, **distribution)
    elif method == "crr":
        made = DiscreteCRR(
            policy=policy, critic=network(), optim=optim(), min_q_weight=0.7, beta=0.2, **common
        )
    elif method == "iql":
        made = DiscreteIQL(
            policy=policy, policy_optim=optim(), critic=network(), critic2=network(),
            critic_optim=optim(), value=network(1), value_optim=optim(), gamma=GAMMA,
        )  # fmt: skip
    elif method == "il":
        made = DiscreteImitation(policy=policy, optim=optim())
    else:
        made = DiscreteBCQ(policy=policy, optim=optim(), **common)
    made = made.double()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name != "tau_hat":
                value.mul_(3.0 if "_old" in name else 2.0)
    made._iter = 1  # the target networks stay as they are
    made.legal = None if masks is None else LegalActions(masks, Normaliser.identity(COLUMNS))
    return made


def fixed_batch():
    """Positions of all three kinds now and next; recorded actions are legal."""
    rng = np.random.default_rng(0)
    obs, following = rng.normal(size=(2, ROWS, COLUMNS))
    obs[:, DIRECTION_COLUMN] = directions = rng.integers(-1, 2, ROWS)
    following[:, DIRECTION_COLUMN] = rng.integers(-1, 2, ROWS)
    act = [rng.choice(np.flatnonzero(MASKS[direction])) for direction in directions]
    batch = Batch(
        obs=torch.tensor(obs), obs_next=torch.tensor(following),
        rew=torch.tensor(rng.normal(size=ROWS)),
        discount=torch.tensor(np.where(rng.random(ROWS) < 0.2, 0.0, GAMMA)),
    )  # fmt: skip
    batch.act = torch.tensor(np.array(act))
    return batch


def allowed(obs):
    return [action for action in range(ACTIONS) if MASKS[int(obs[DIRECTION_COLUMN])][action]]


def log_sum_exp(values):
    return torch.log(sum(torch.exp(value) for value in values))


def quantile_loss(chosen, target):
    total = 0.0
    for level, quantile in zip(LEVELS, chosen, strict=True):
        for one in target:
            error = one - quantile
            huber = 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5
            total = total + abs(level - float(error < 0)) * huber / ATOMS
    return total


def quantile_row(algorithm, weight, obs, act, rew, discount, following):
    model, old = algorithm.policy.model, algorithm.model_old.module
    with torch.no_grad():
        ahead, there = model(following[None])[0][0].mean(1), allowed(following)
        best = max(there, key=lambda action: float(ahead[action]))
        target = rew + discount * old(following[None])[0][0, best]
    quantiles = model(obs[None])[0][0]
    values = quantiles.mean(1)
    gap = log_sum_exp([values[action] for action in allowed(obs)]) - values[act]
    return quantile_loss(quantiles[act], target) + weight * gap


def bcq_row(algorithm, share, obs, act, rew, discount, following):
    policy = algorithm.policy
    with torch.no_grad():
        likely, there = policy.imitator(following[None])[0][0].exp(), allowed(following)
        ahead = policy.model(following[None])[0][0]
        there = [a for a in there if likely[a] >= share * max(likely[b] for b in there)]
        best = max(there, key=lambda action: float(ahead[action]))
        target = rew + discount * algorithm.model_old(following[None])[0][0, best]
    error = policy.model(obs[None])[0][0, act] - target
    logits = policy.imitator(obs[None])[0][0]
    cloning = log_sum_exp([logits[action] for action in allowed(obs)]) - logits[act]
    huber = 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5
    return huber + cloning + 0.01 * (logits**2).mean()


def crr_row(algorithm, obs, act, rew, discount, following):
    logits = algorithm.policy.actor(obs[None])[0][0]
    values = algorithm.critic(obs[None])[0][0]
    here, there = allowed(obs), allowed(following)
    likelihoods = {a: logits[a] - log_sum_exp([logits[b] for b in here]) for a in here}
    with torch.no_grad():
        ahead = algorithm.actor_old(following[None])[0][0]
        shares = {a: math.exp(ahead[a]) for a in there}
        worth = algorithm.critic_old(following[None])[0][0]
        expected = sum(shares[a] * worth[a] for a in there) / sum(shares.values())
        target = rew + discount * expected
        base = sum(math.exp(likelihoods[a]) * values[a] for a in here)
        weight = min(math.exp((values[act] - base) / 0.2), 20.0)
    gap = log_sum_exp([values[a] for a in here]) - values[act]
    return 0.5 * (values[act] - target) ** 2 - weight * likelihoods[int(act)] + 0.7 * gap


def cloning_row(network, obs, act):
    logits = network(obs[None])[0][0]
    return log_sum_exp([logits[action] for action in allowed(obs)]) - logits[act]


def reference(method, algorithm, batch):
    """The loss, a number that can be differentiated."""
    rows = list(zip(batch.obs, batch.act, batch.rew, batch.discount, batch.obs_next, strict=True))
    if method in ("qrdqn", "cql"):
        weight = 0.7 if method == "cql" else 0.0
        losses = [quantile_row(algorithm, weight, *row) for row in rows]
    elif method in ("bcq", "bcq all"):
        losses = [bcq_row(algorithm, 0.4 if method == "bcq" else 0.0, *row) for row in rows]
    elif method == "crr":
        losses = [crr_row(algorithm, *row) for row in rows]
    else:
        losses = [cloning_row(algorithm.policy.actor, *row[:2]) for row in rows]
    return torch.stack(losses).mean()


def learnt(algorithm):
    """What a step moves, target networks apart."""
    named = algorithm.named_parameters()
    return {name: value for name, value in named if value.requires_grad and "_old" not in name}


def step_of(algorithm, batch):
    """How far a step moves each parameter."""
    before = {name: value.detach().clone() for name, value in learnt(algorithm).items()}
    algorithm._update_with_batch(batch)
    return {name: value.detach() - before[name] for name, value in learnt(algorithm).items()}
