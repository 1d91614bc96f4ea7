"""d3rlpy's side of ``benchmarks.training_peers``, run with a python that has it.

The defaults of its configurations stand, but for widths, batch size and what is named below. A step
is what its ``fit`` does: sample a batch, then ``update``. d3rlpy stores each observation once and
takes the next one from the row after; ours draws both.
"""

import importlib.metadata

import d3rlpy
import numpy as np
from side import ACTIONS, draw, serve

QUANTILES = 200
# method -> configuration, names of its encoders, options
METHODS = {
    "IL": ("BCConfig", ("",), {}),
    "TD3+BC": ("TD3PlusBCConfig", ("actor_", "critic_"), {}),
    "BCQ": ("BCQConfig", ("actor_", "critic_", "imitator_"), {"n_action_samples": 10}),
    "CQL": ("CQLConfig", ("actor_", "critic_"), {}),
    "IQL": ("IQLConfig", ("actor_", "critic_", "value_"), {}),
    "discrete IL": ("DiscreteBCConfig", ("",), {}),
    "discrete BCQ": ("DiscreteBCQConfig", ("",), {"share_encoder": False}),
    "discrete CQL": ("DiscreteCQLConfig", ("",), {"quantiles": QUANTILES}),
}


def make_step(method, columns, hidden, batch, rows):
    """One gradient step of d3rlpy's, as a function."""
    name, encoders, options = METHODS[method]
    if "quantiles" in options:
        quantiles = d3rlpy.models.QRQFunctionFactory(n_quantiles=options["quantiles"])
        options = {"q_func_factory": quantiles}
    for encoder in encoders:
        factory = d3rlpy.models.VectorEncoderFactory(hidden_units=list(hidden))
        options = options | {f"{encoder}encoder_factory": factory}
    discrete = method.startswith("discrete")
    data = draw(columns, continuous=not discrete, rows=rows)
    kinds = d3rlpy.constants.ActionSpace
    dataset = d3rlpy.dataset.MDPDataset(
        observations=data["obs"],
        actions=data["act"],
        rewards=data["rew"].astype(np.float32),
        terminals=data["terminated"].astype(np.float32),
        action_space=kinds.DISCRETE if discrete else kinds.CONTINUOUS,
        action_size=ACTIONS if discrete else 1,
    )
    algorithm = getattr(d3rlpy.algos, name)(batch_size=batch, **options).create(device="cpu:0")
    algorithm.build_with_dataset(dataset)
    return lambda: algorithm.update(dataset.sample_transition_batch(batch))


if __name__ == "__main__":
    packages = ("d3rlpy", "torch")
    serve({name: importlib.metadata.version(name) for name in packages}, make_step)
