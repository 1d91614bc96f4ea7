"""Small transformers, contexts for them, and lanes to act in."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from offline_algos.networks import Inputs
from offline_algos.normalisation import Normaliser, Statistics
from offline_algos.transformer_actor import TransformerActor
from offline_algos.transformer_network import TransformerNetwork

COLUMNS, ACTIONS, WIDTH, LENGTH = 7, 3, 2, 5
WINDOWS = [("market_data_1min", 0, 6, (3, 2)), ("account_state", 6, 7, (1,))]
LOW, HIGH = [-1.0, 0.0], [1.0, 10.0]


def make_network(continuous=False, **changes):
    torch.manual_seed(0)
    inputs = Inputs(WINDOWS, changes.pop("encoder", "mlp"), changes.pop("hidden_sizes", ()))
    settings = {
        "context_length": LENGTH, "layers": 2, "heads": 2, "embedding_size": 16, "longest": 50,
        "return_scale": 4.0,
    }  # fmt: skip
    made = TransformerNetwork(
        inputs, WIDTH if continuous else ACTIONS, continuous=continuous, **(settings | changes)
    )
    with torch.no_grad():  # away from what is nearly linear, so that every input matters
        for parameter in made.blocks.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
        made.head[-1].weight.mul_(10.0)
    return made.eval()


def make_actor(continuous=False, target=2.5, **changes):
    rng = np.random.default_rng(0)
    normaliser = Normaliser(Statistics(rng.normal(size=COLUMNS), rng.uniform(0.5, 2, COLUMNS)))
    box = {"low": LOW, "high": HIGH} if continuous else {}
    return TransformerActor(normaliser, make_network(continuous, **changes), target, **box)


def contexts(continuous=False, batch=4, length=LENGTH):
    """Normalised observations, actions, returns, timesteps."""
    torch.manual_seed(1)
    act = torch.randint(ACTIONS, (batch, length))
    if continuous:
        act = torch.rand(batch, length, WIDTH) * 2 - 1
    steps = torch.arange(length) + torch.randint(20, (batch, 1))
    return [torch.randn(batch, length, COLUMNS), act, torch.randn(batch, length), steps]


def play(actor, steps, restart=None, lanes=3):
    """Step lanes with random observations and rewards; lane 1 begins anew at step `restart`.

    Returns what each step gave, and the same from `predict` on the lanes' whole contexts.
    """
    rng = np.random.default_rng(5)
    actor.begin(np.arange(lanes))
    memory = [[] for _ in range(lanes)]  # (observation, action, return-to-go, timestep)
    owed = np.full(lanes, actor.target_return)
    stepwise, whole = [], []
    for step in range(steps):
        if step == restart:
            actor.begin(np.array([1]))
            memory[1], owed[1] = [], actor.target_return
        observations = torch.tensor(rng.normal(size=(lanes, COLUMNS)), dtype=torch.float32)
        chosen = actor(observations)
        stepwise.append(chosen)
        whole.append([])
        for lane, past in enumerate(memory):
            past.append([observations[lane], chosen[lane], owed[lane], len(past)])
            whole[-1].append(predicted(actor, past[-LENGTH:]))
        rewards = rng.normal(size=lanes)
        actor.observe(np.arange(lanes), rewards)
        owed -= rewards
    return torch.stack(stepwise), torch.stack([torch.stack(row) for row in whole])


def predicted(actor, past):
    """`predict` for one lane, its own last action replaced: nothing may read it."""
    missing = LENGTH - len(past)
    rows = [past[0]] * missing + past
    obs, act = (torch.stack([row[k] for row in rows])[None] for k in (0, 1))
    act[:, -1] = 0
    owed = torch.tensor([[row[2] for row in rows]], dtype=torch.float32)
    steps = torch.tensor([[row[3] for row in rows]])
    return actor.predict(obs, act, owed, steps, torch.arange(LENGTH)[None] >= missing)[0]


class Countdown(gym.Env):
    """Observes its own number and the step; rewards 1; ends after `steps`."""

    observation_space = spaces.Box(-100, 100, (COLUMNS,), np.float32)
    action_space = spaces.Discrete(ACTIONS)

    def __init__(self, number, steps):
        self.number, self.steps = number, steps

    def _seen(self):
        return np.full(COLUMNS, self.number + self.now / 10, np.float32)

    def reset(self, *, seed=None, options=None):
        self.now = 0
        return self._seen(), {}

    def step(self, action):
        self.now += 1
        return self._seen(), 1.0, self.now == self.steps, False, {}
