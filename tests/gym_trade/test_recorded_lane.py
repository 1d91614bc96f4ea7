"""The history of a vector's recorded lane: that of the scalar environment of its seed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.rollouts import CONFIGURATIONS, configured, configured_scalar, draw
from tests.round_trips import assert_same_frames, frames_of

LANE = 2


def follow(name, mode, steps=45):
    """Step a vector and the scalar twin of its recorded lane; compares as it goes."""
    env = configured(name, num_envs=4, record_lane=LANE, autoreset_mode=mode)
    twin, rng, over, ends = configured_scalar(name), np.random.default_rng(3), False, 0
    env.reset(seed=30), twin.reset(seed=30 + LANE)
    for step in range(steps):
        actions = draw(env, rng)
        *_, terminated, truncated, _ = env.step(actions)
        ended = (terminated | truncated)[LANE]
        if over and mode == "NextStep":
            twin.reset()
            over = False
        else:
            *_, left, right, _ = twin.step(actions[LANE])
            over = left or right
            assert over == ended
        ends += over
        if over and mode == "SameStep":
            twin.reset()
            assert len(env.history()) == 1 and len(env.all_fills()) == 0
        if step % 4 == 0 or over:
            assert_same_frames(frames_of(env), frames_of(twin))
        if mode == "Disabled" and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})
            if over:
                twin.reset()
    assert ends > (0 if name == "index" else 3)


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "index"])
def test_a_recorded_lane_is_the_scalar_environment_of_its_seed(name):
    follow(name, "NextStep")


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
@pytest.mark.parametrize("name", ["wild", "locked", "one step"])
def test_a_recorded_lane_in_the_other_autoreset_modes(name, mode):
    follow(name, mode)


@pytest.mark.parametrize("name", ["wild", "locked"])
def test_a_lane_is_recorded_when_only_some_are_stepped(name):
    env = configured(name, num_envs=4, record_lane=LANE, autoreset_mode="Disabled")
    twin, rng = configured_scalar(name), np.random.default_rng(4)
    env.reset(seed=30), twin.reset(seed=30 + LANE)
    for step in range(24):
        lanes = np.array([[3, LANE], [LANE], [0, 1], [1, LANE, 0]][step % 4])
        actions = draw(env, rng, len(lanes))
        env.step_lanes(lanes, actions)
        if LANE in lanes:
            twin.step(actions[list(lanes).index(LANE)])
        assert_same_frames(frames_of(env), frames_of(twin))
        ended = env.engine.lanes.ended == 1
        if ended.any():
            env.reset(options={"reset_mask": ended})
            if ended[LANE]:
                twin.reset()
