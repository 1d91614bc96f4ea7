"""Measure gym-trading-env or gym-anytrading; run by ``benchmarks.throughput`` with its python.

Reads one JSON object from standard input: the peer, the bars' file (CSV), the seconds a
measurement, the seed and the list of cases, each {"name", "lanes" (0: the scalar environment)}.
Writes one JSON object to standard output: versions, and steps a second by case name. A step is one
random action, the next observation built, and the reset where an episode ended; many copies are
Gymnasium's SyncVectorEnv, whose resets are no steps here.

What is set alike: the bars, an episode of 2000 steps, five features a bar in one window of 52 bars
(as many as gym_trade's four windows together), levels 0, 0.5 and 1, a fee of 0.04%. What is not:
both decide at every bar and have one time frame. gym-trading-env adds two features of the account
to every row of the window. gym-anytrading has two actions (short, long), no fee in its reward, no
leverage, no account in its observation, and begins every episode at the same bar. Neither looks at
a bar's high and low. gym-trading-env's reset allocates a history as long as its bars, so that more
bars would cost it more.
"""

import importlib.metadata
import json
import sys
import time
import warnings

import gymnasium as gym
import numpy as np
import pandas as pd

EPISODE_STEPS = 2000
WINDOW = 52
FEE = 0.0004
PACKAGES = {"gym_trading_env": "gym-trading-env", "gym_anytrading": "gym-anytrading"}


def add_features(bars):
    """The five features a bar that gym_trade shows by default (without the mean volume)."""
    previous = bars["close"].shift(1)
    bars["feature_open"] = np.log(bars["open"] / previous)
    bars["feature_high"] = np.log(bars["high"] / bars["close"])
    bars["feature_low"] = np.log(bars["low"] / bars["close"])
    bars["feature_close"] = np.log(bars["close"] / previous)
    bars["feature_volume"] = np.log1p(bars["volume"])
    return bars.fillna(0.0)


def register_gym_trading_env(bars):
    """Its own id, with the arguments that make it most alike."""
    import gym_trading_env  # noqa: F401  (registers its id)

    warnings.resetwarnings()  # the package turns every warning of the process into an error
    arguments = {
        "df": bars,
        "positions": [0, 0.5, 1],
        "initial_position": 0,
        "windows": WINDOW,
        "trading_fees": FEE,
        "max_episode_duration": EPISODE_STEPS + 1,  # it truncates one step earlier
        "verbose": 0,
    }
    return "TradingEnv", arguments


def register_gym_anytrading(bars):
    """Its stocks environment with own features, in the way that its documentation shows."""
    from gym_anytrading.envs import StocksEnv

    class FiveFeatures(StocksEnv):
        def _process_data(self):
            begin, end = self.frame_bound[0] - self.window_size, self.frame_bound[1]
            features = self.df.filter(like="feature_").to_numpy(np.float32)
            return self.df["close"].to_numpy(np.float32)[begin:end], features[begin:end]

    gym.register("FiveFeatures-v0", entry_point=FiveFeatures)
    bound = (WINDOW, WINDOW + EPISODE_STEPS + 1)
    return "FiveFeatures-v0", {"df": bars, "window_size": WINDOW, "frame_bound": bound}


REGISTER = {"gym_trading_env": register_gym_trading_env, "gym_anytrading": register_gym_anytrading}


def scalar_speed(task, arguments, seconds, seed):
    """Steps a second of ``gym.make``, with its resets."""
    env = gym.make(task, **arguments)
    env.reset(seed=seed)
    actions = np.random.default_rng(seed).integers(0, int(env.action_space.n), 512).tolist()
    env.step(actions[0])
    steps, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        steps += len(actions)
    return steps / (time.perf_counter() - begin)


def vector_speed(task, arguments, lanes, seconds, seed):
    """Lane-steps a second of as many copies in Gymnasium's SyncVectorEnv; resets are no steps."""
    env = gym.make_vec(task, num_envs=lanes, vectorization_mode=gym.VectorizeMode.SYNC, **arguments)
    env.reset(seed=seed)
    count = int(env.single_action_space.n)
    actions = np.random.default_rng(seed).integers(0, count, (8, lanes))
    env.step(actions[0])
    steps, resets, begin = 0, 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            resets += int(np.count_nonzero(terminated | truncated))
        steps += actions.size
    return (steps - resets) / (time.perf_counter() - begin)


def main():
    """Read the request, measure every case, write the answer."""
    request = json.load(sys.stdin)
    peer, seconds, seed = request["peer"], request["seconds"], request["seed"]
    bars = add_features(pd.read_csv(request["bars"], parse_dates=["timestamp"], index_col=0))
    task, arguments = REGISTER[peer](bars)
    np.random.seed(seed)  # gym-trading-env draws its starts from NumPy's global state
    speeds = {}
    for case in request["cases"]:
        if case["lanes"]:
            speed = vector_speed(task, arguments, case["lanes"], seconds, seed)
        else:
            speed = scalar_speed(task, arguments, seconds, seed)
        speeds[case["name"]] = speed
    versions = {PACKAGES[peer]: importlib.metadata.version(PACKAGES[peer])}
    json.dump({"versions": versions, "speeds": speeds}, sys.stdout)


if __name__ == "__main__":
    main()
