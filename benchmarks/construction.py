"""Print what a market and its environment cost to make; run in a fresh process.

``python -m benchmarks.construction BARS.npy LANES`` reads float64 (5, bars), makes the
frame, and prints the seconds of ``Market(frame)``, of the environment with its first reset, and
the peak of resident memory above that of the process with the frame. The interpreter, the imports
and the frame are made before the clock starts; loading compiled code counts.
"""

import json
import resource
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pandas as pd

import gym_trade


def peak_bytes() -> int:
    """The largest resident memory of this process so far.

    Linux hands ``ru_maxrss`` on from the process that started this one, so that a small process
    with a large parent would always seem as large as that; its own peak stands elsewhere.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Read the bars, make the market and the environment, print."""
    path, lanes = sys.argv[1:]
    values = np.load(path)
    index = pd.date_range("2020-01-01", periods=values.shape[1], freq="1min", name="timestamp")
    columns = ["open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(values.T, columns=columns, index=index, copy=False)
    before, begin = peak_bytes(), time.perf_counter()
    market = gym_trade.Market(frame)
    middle = time.perf_counter()
    env = gym.make_vec("Trade-Sequential-v0", num_envs=int(lanes), df=market)
    env.reset(seed=0)
    end = time.perf_counter()
    answer = {
        "market_seconds": middle - begin,
        "environment_seconds": end - middle,
        "total_seconds": end - begin,
        "peak_bytes": peak_bytes() - before,
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
