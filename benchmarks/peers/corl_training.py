"""CORL's single-file loops in ``benchmarks.training_peers``; run as ``corl_training.py FOLDER``.

FOLDER is a checkout of CORL with ``algorithms/offline/{td3_bc,cql,iql}.py``. Their replay buffers,
networks and trainers are imported as they are; wandb, pyrallis, d4rl and gym, which a gradient step
does not call, are stood in for. Where a file fixes widths its networks get those that are compared.
A step is what its loop does: sample, move the batch to the device, ``train``.
"""

import importlib.util
import itertools
import pathlib
import sys
import types

import torch
from side import draw, serve
from torch import nn

STAND_INS = ("wandb", "pyrallis", "d4rl", "gym")


class StandIn(types.ModuleType):
    """A module whose every name is a class that does nothing."""

    def __getattr__(self, name):
        """A class of that name; what Python asks of a module itself is not there."""
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def load(folder, name):
    """One of CORL's files as a module."""
    for package in STAND_INS:
        sys.modules[package] = StandIn(package)
    sys.modules["pyrallis"].wrap = lambda: lambda function: function
    path = pathlib.Path(folder) / "algorithms" / "offline" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"corl_{name}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    return module


def mlp(*sizes):
    """Linear layers of these widths with ReLU between them."""
    layers = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def adam(module):
    """The optimiser that its loops make."""
    return torch.optim.Adam(module.parameters(), lr=3e-4)


def td3_bc(corl, columns, hidden):
    """TD3+BC."""
    actor = corl.Actor(columns, 1, 1.0)
    actor.net = nn.Sequential(mlp(columns, *hidden, 1), nn.Tanh())
    critics = [corl.Critic(columns, 1) for _ in range(2)]
    for critic in critics:
        critic.net = mlp(columns + 1, *hidden, 1)
    return corl.TD3_BC(
        1.0, actor, adam(actor), critics[0], adam(critics[0]), critics[1], adam(critics[1])
    )


def cql(corl, columns, hidden):
    """CQL with a Lagrange multiplier, as ours has in this comparison."""
    actor = corl.TanhGaussianPolicy(columns, 1, 1.0)
    actor.base_network = mlp(columns, *hidden, 2)
    critics = [corl.FullyConnectedQFunction(columns, 1) for _ in range(2)]
    for critic in critics:
        critic.network = mlp(columns + 1, *hidden, 1)
    return corl.ContinuousCQL(
        critics[0], adam(critics[0]), critics[1], adam(critics[1]), actor, adam(actor),
        target_entropy=-1.0, bc_steps=0, cql_lagrange=True,
    )  # fmt: skip


def iql(corl, columns, hidden):
    """IQL."""
    sizes = {"hidden_dim": hidden[0], "n_hidden": len(hidden)}
    actor = corl.GaussianPolicy(columns, 1, 1.0, **sizes)
    critic, value = corl.TwinQ(columns, 1, **sizes), corl.ValueFunction(columns, **sizes)
    return corl.ImplicitQLearning(1.0, actor, adam(actor), critic, adam(critic), value, adam(value))


METHODS = {"TD3+BC": ("td3_bc", td3_bc), "CQL": ("cql", cql), "IQL": ("iql", iql)}


def make_step(method, columns, hidden, batch, rows):
    """One gradient step of CORL's, as a function."""
    name, make = METHODS[method]
    corl = MODULES[name]
    trainer = make(corl, columns, hidden)
    data = draw(columns, continuous=True, rows=rows)
    buffer = corl.ReplayBuffer(columns, 1, rows)
    buffer.load_d4rl_dataset(
        {
            "observations": data["obs"],
            "actions": data["act"],
            "rewards": data["rew"],
            "next_observations": data["obs_next"],
            "terminals": data["terminated"],
        }
    )
    return lambda: trainer.train([part.to("cpu") for part in buffer.sample(batch)])


if __name__ == "__main__":
    MODULES = {name: load(sys.argv[1], name) for name, _ in METHODS.values()}
    serve({}, make_step)
