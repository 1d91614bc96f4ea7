"""Measure TorchTrade's environments; run by ``benchmarks.throughput`` with TorchTrade's python.

Reads one JSON object from standard input: the bars' file (CSV), the seconds a measurement, the seed
and the list of cases, each {"name", "kind" ("sequential", "sltp" or "one-step"), "lanes" (0: the
scalar environment), "threads"}. Writes one JSON object to standard output: versions, and steps a
second by case name. A step is one random action, the next observation built, and the automatic
reset where an episode ended. A step of the one-step environment is a whole episode: one decision,
rolled out over at most 24 execution bars. It has no vectorised form.
"""

import importlib.metadata
import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from torchtrade.envs.offline.onestep import OneStepTradingEnv, OneStepTradingEnvConfig
from torchtrade.envs.offline.sequential import SequentialTradingEnv, SequentialTradingEnvConfig
from torchtrade.envs.offline.sequential_sltp import (
    SequentialTradingEnvSLTP,
    SequentialTradingEnvSLTPConfig,
)
from torchtrade.envs.offline.vectorized_sequential import (
    VectorizedSequentialTradingEnv,
    VectorizedSequentialTradingEnvConfig,
)
from torchtrade.envs.offline.vectorized_sequential_sltp import (
    VectorizedSequentialTradingEnvSLTP,
    VectorizedSequentialTradingEnvSLTPConfig,
)

EPISODE_STEPS = 2000
ROLLOUT_STEPS = 24
LEVELS = {"action_levels": [0.0, 0.5, 1.0]}
BRACKETS = {"stoploss_levels": [-0.02, -0.05], "takeprofit_levels": [0.05, 0.10]}
# (kind, whether it has lanes) -> environment, its configuration, options
ENVIRONMENTS = {
    ("sequential", False): (SequentialTradingEnv, SequentialTradingEnvConfig, LEVELS),
    ("sequential", True): (
        VectorizedSequentialTradingEnv,
        VectorizedSequentialTradingEnvConfig,
        LEVELS,
    ),
    ("sltp", False): (SequentialTradingEnvSLTP, SequentialTradingEnvSLTPConfig, BRACKETS),
    ("sltp", True): (
        VectorizedSequentialTradingEnvSLTP,
        VectorizedSequentialTradingEnvSLTPConfig,
        BRACKETS,
    ),
    ("one-step", False): (OneStepTradingEnv, OneStepTradingEnvConfig, BRACKETS),
}


def five_features(bars):
    """The same five features a bar that gym_trade shows by default (without the mean volume)."""
    bars = bars.reset_index()
    previous = bars["close"].shift(1)
    bars["features_open"] = np.log(bars["open"] / previous)
    bars["features_high"] = np.log(bars["high"] / bars["close"])
    bars["features_low"] = np.log(bars["low"] / bars["close"])
    bars["features_close"] = np.log(bars["close"] / previous)
    bars["features_volume"] = np.log1p(bars["volume"])
    return bars.fillna(0.0)


def make(frame, kind, lanes, seed):
    """One environment of `lanes` lanes, or the scalar one for 0."""
    environment, configuration, options = ENVIRONMENTS[kind, lanes > 0]
    options = {
        "time_frames": ["1min", "5min", "15min", "1hour"],
        "window_sizes": [12, 8, 8, 24],
        "execute_on": "5min",
        "transaction_fee": 0.0004,
        # the observation of the reset is one of them
        "max_traj_length": 1 + (ROLLOUT_STEPS if kind == "one-step" else EPISODE_STEPS),
        "seed": seed,
        **options,
    }
    if lanes:
        options["num_envs"] = lanes
    return environment(frame, configuration(**options), five_features)


def steps_per_second(env, lanes, seconds, seed):
    """Step with random actions for `seconds` and count lane-steps a second."""
    generator = torch.Generator().manual_seed(seed)
    shape = (64, lanes) if lanes else (64,)
    actions = torch.randint(0, int(env.action_spec.space.n), shape, generator=generator)
    with torch.no_grad():
        state = env.reset()
        for warm in range(5):
            _, state = env.step_and_maybe_reset(state.set("action", actions[warm]))
        steps, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            for action in actions:
                _, state = env.step_and_maybe_reset(state.set("action", action))
            steps += 64 * max(lanes, 1)
        return steps / (time.perf_counter() - begin)


def main():
    """Read the request, measure every case, write the answer."""
    request = json.load(sys.stdin)
    frame = pd.read_csv(request["bars"], parse_dates=["timestamp"])
    speeds = {}
    for case in request["cases"]:
        torch.set_num_threads(case["threads"])
        env = make(frame, case["kind"], case["lanes"], request["seed"])
        speeds[case["name"]] = steps_per_second(
            env, case["lanes"], request["seconds"], request["seed"]
        )
    versions = {name: importlib.metadata.version(name) for name in ("torchtrade", "torch")}
    json.dump({"versions": versions, "speeds": speeds}, sys.stdout)


if __name__ == "__main__":
    main()
