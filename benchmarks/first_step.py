"""Print the seconds from ``import gym_trade`` to the first step done; run in a fresh process.

``python -m benchmarks.first_step LANES`` makes ``Trade-Sequential-v0`` on the embedded market: with
0 lanes the scalar environment, otherwise the vector one. Nothing of the package, and nothing that
it imports, is imported before the clock starts.
"""

import json
import sys
import time


def main() -> None:
    """Import, make, reset, step, print."""
    lanes = int(sys.argv[1])
    begin = time.perf_counter()
    import gymnasium as gym

    import gym_trade  # noqa: F401  (registers the environments)

    if lanes:
        env = gym.make_vec("Trade-Sequential-v0", num_envs=lanes)
    else:
        env = gym.make("Trade-Sequential-v0")
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    json.dump({"seconds": time.perf_counter() - begin}, sys.stdout)


if __name__ == "__main__":
    main()
