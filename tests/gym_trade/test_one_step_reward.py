"""What a custom reward is told of a one-step rollout."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rollouts import CRASH, flat_then, vector


@pytest.mark.parametrize(("action", "steps"), [(0, 1), (1, 4), (2, 2)])
def test_the_last_decision_step_terminates_whatever_ended_it(action, steps):
    """Nothing opened; held to the end; stopped in the second step."""
    calls = []

    def told(terminated, truncated, equity):
        calls.append((terminated.tolist(), truncated.tolist()))
        return np.zeros(len(equity))

    env = vector(
        flat_then(120, 94.0, at=36), num_envs=1, kind="OneStep", rollout_steps=4, reward=told,
        stoploss_levels=(-0.5, -0.05), takeprofit_levels=(0.5,), **CRASH,
    )  # fmt: skip
    env.reset(seed=0)
    *_, terminated, truncated, _ = env.step([action])
    assert (terminated[0], truncated[0]) == (True, False)
    assert calls == [([False], [False])] * (steps - 1) + [([True], [False])]
