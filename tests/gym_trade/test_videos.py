"""Videos by Gymnasium's wrappers: written to a file, and read again."""

from __future__ import annotations

import os
import subprocess

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium.wrappers import RecordVideo

import gym_trade
from tests import markets
from tests.rollouts import SMALL

FRAME = markets.bars(600)
SHAPE = (600, 800, 3)


def frames_of(path, shape):
    """The frames of a video, of the shape that it must have."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo",
               "-pix_fmt", "rgb24", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    facts = done.stderr.decode()
    height, width, _ = shape
    assert f"{width}x{height}" in facts
    assert f"{gym_trade.TradeEnv.metadata['render_fps']} fps" in facts
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)


def like(video_frame, frame):
    """Whether they show the same, but for what compression does."""
    difference = np.abs(video_frame.astype(int) - frame)
    return difference.mean() < 2.0


@pytest.mark.parametrize("name", ["Trade-Sequential-v0", "Trade-SLTP-v0", "Trade-OneStep-v0"])
def test_record_video(name, tmp_path):
    """Every episode's frames from its reset to its end, in a file that can be read again."""
    folder = tmp_path / "videos"
    arguments = {"df": FRAME, "render_mode": "rgb_array", "episode_steps": 2} | SMALL
    env = RecordVideo(gym.make(name, **arguments), str(folder), episode_trigger=lambda _: True)
    twin = gym.make(name, **arguments)
    expected = []
    for number in range(2):
        seed = 3 if number == 0 else None
        env.reset(seed=seed), twin.reset(seed=seed)
        first, count, over = twin.render(), 1, False
        while not over:
            env.step(2)
            over = any(twin.step(2)[2:4])
            count += 1
        expected.append((count, first, twin.render()))
    env.close()
    assert sorted(os.listdir(folder)) == [f"rl-video-episode-{n}.mp4" for n in range(2)]
    for number, (count, first, last) in enumerate(expected):
        video = frames_of(folder / f"rl-video-episode-{number}.mp4", SHAPE)
        assert len(video) == count == (2 if "OneStep" in name else 3)
        assert like(video[0], first) and like(video[-1], last)
        assert not (video[0] == video[-1]).all()


@pytest.mark.filterwarnings("ignore:.*autoreset mode is same-step:UserWarning")
@pytest.mark.parametrize("mode, num_envs, first_only", [
    ("NextStep", 1, False), ("SameStep", 1, False), ("Disabled", 1, False),
    ("NextStep", 3, True), ("Disabled", 2, False),
])  # fmt: skip
def test_record_video_of_a_vector(mode, num_envs, first_only, tmp_path):
    folder = tmp_path / "videos"
    env = gym.make_vec("Trade-Sequential-v0", num_envs=num_envs, df=FRAME, render_mode="rgb_array",
                       episode_steps=2, autoreset_mode=mode, **SMALL)  # fmt: skip
    env = gym.wrappers.vector.RecordVideo(
        env, str(folder), episode_trigger=lambda _: True, record_first_only=first_only
    )
    env.reset(seed=0)
    first = env.unwrapped.render()[0]
    for _ in range(5):
        *_, truncated, _ = env.step(np.full(num_envs, 2))
        if mode == "Disabled" and truncated.all():
            env.reset(options={"reset_mask": truncated})
    env.close()
    episodes = {"NextStep": 2, "SameStep": 3, "Disabled": 3}[mode]
    assert sorted(os.listdir(folder)) == [f"rl-video-episode-{n}.mp4" for n in range(episodes)]
    lanes = 1 if first_only else num_envs  # beside one another
    video = frames_of(folder / "rl-video-episode-0.mp4", (SHAPE[0], SHAPE[1] * lanes, 3))
    assert len(video) == (2 if mode == "SameStep" else 3)
    assert like(video[0][:, : SHAPE[1]], first)
