"""Images: each frame held once as bytes, stacked when it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.data import ReplayBuffer

from data_tools import describe
from data_tools.buffers import TensorReplayBuffer
from data_tools.flat_layout import DatasetError
from data_tools.hdf5 import load_buffer
from tests.image_tasks import LIMIT, SIDE, STACK, fill, save, walk

WALK = walk(60)
STACKED: dict[str, Any] = {"stack_num": STACK, "save_only_last_obs": True}


def load(buffer: ReplayBuffer, path: Path) -> TensorReplayBuffer:
    return TensorReplayBuffer.load(save(fill(buffer, WALK), path))[0]


@pytest.mark.parametrize("size", [60, 80, 41])  # full, part-filled, wrapped
@pytest.mark.parametrize("without_next", [False, True])
def test_stacks_are_tianshou_s(tmp_path: Path, size: int, without_next: bool) -> None:
    stock = fill(ReplayBuffer(size, ignore_obs_next=without_next, **STACKED), WALK)
    ours, _ = TensorReplayBuffer.load(save(stock, tmp_path / "frames.hdf5"))
    rows = stock.sample_indices(0)
    lost = stock.truncated[rows] & ~stock.terminated[rows]
    lost[-1] |= ~stock.done[rows[-1]]
    if without_next:
        assert lost.any() and ours.left_out == lost.sum()
        rows = rows[~lost]
    else:
        assert ours.left_out == 0
    drawn = ours.rows(ours.sample_indices(0))
    expected = stock.get(rows, "obs")
    assert drawn.obs.dtype == torch.uint8 and drawn.obs.shape == (len(rows), STACK, SIDE, SIDE)
    np.testing.assert_array_equal(drawn.obs.numpy(), expected)
    np.testing.assert_array_equal(ours.get(ours.sample_indices(0), "obs"), expected)
    for name in ("act", "rew", "terminated"):
        np.testing.assert_array_equal(drawn[name].numpy(), stock._meta[name][rows], err_msg=name)


@pytest.mark.parametrize("without_next", [False, True])
def test_stacks_are_the_environment_s(tmp_path: Path, without_next: bool) -> None:
    ours = load(ReplayBuffer(60, ignore_obs_next=without_next, **STACKED), tmp_path / "a")
    kept = [
        t for t in WALK[: -1 if without_next else None] if not (without_next and t["truncated"])
    ]
    assert len(ours) == len(kept) and any(t["truncated"] for t in WALK)
    drawn = ours.rows(ours.sample_indices(0))
    np.testing.assert_array_equal(drawn.obs.numpy(), [t["obs"] for t in kept])
    alive = ~ours.terminated
    following = np.stack([t["obs_next"] for t in kept])
    np.testing.assert_array_equal(drawn.obs_next.numpy()[alive], following[alive])
    np.testing.assert_array_equal(
        ours.get(np.arange(len(ours)), "obs_next")[alive], following[alive]
    )
    if without_next:  # one before a lost one ends the episode, and nothing is called a death
        assert ours.truncated.sum() == sum(t["truncated"] for t in WALK) + 1
        assert ours.terminated.sum() == sum(t["terminated"] for t in kept)


def test_whole_stacks_in_the_file(tmp_path: Path) -> None:
    ours = load(ReplayBuffer(60), tmp_path / "stacks.hdf5")
    drawn = ours.rows(np.arange(60))
    assert ours.observation_shape == (STACK, SIDE, SIDE) and ours.is_image
    np.testing.assert_array_equal(drawn.obs.numpy(), [t["obs"] for t in WALK])
    np.testing.assert_array_equal(drawn.obs_next.numpy(), [t["obs_next"] for t in WALK])


def test_frames_are_held_once_as_bytes(tmp_path: Path) -> None:
    ours = load(ReplayBuffer(60, **STACKED), tmp_path / "frames.hdf5")
    episodes = sum(t["terminated"] or t["truncated"] for t in WALK)
    table = ours._observations._tensor
    assert table.dtype == torch.uint8 and len(table) <= 60 + episodes + 1
    ours.scale_pixels(255.0)
    drawn = ours.rows(np.arange(5))
    assert drawn.obs.dtype == torch.float32 and drawn.obs.shape == (5, STACK * SIDE * SIDE)
    expected = np.stack([t["obs_next"] for t in WALK[:5]]).reshape(5, -1) / 255
    np.testing.assert_array_equal(drawn.obs_next.numpy(), expected.astype(np.float32))


def test_targets_of_several_steps_end_in_stacks(tmp_path: Path) -> None:
    ours = load(ReplayBuffer(60, **STACKED), tmp_path / "frames.hdf5")
    ours.set_targets(0.9, n_step=3)
    done = [t["terminated"] or t["truncated"] for t in WALK]
    for row in range(50):
        last = row
        while last < row + 2 and not done[last]:
            last += 1
        drawn = ours.rows(np.array([row])).obs_next[0].numpy()
        np.testing.assert_array_equal(drawn, WALK[last]["obs_next"])


def test_what_is_saved_again_is_the_same(tmp_path: Path) -> None:
    ours = load(ReplayBuffer(60, **STACKED), tmp_path / "frames.hdf5")
    again = TensorReplayBuffer.load(save(ours, tmp_path / "again.hdf5"))[0]
    for name in ("obs", "obs_next", "act"):
        one, other = (made.rows(np.arange(60))[name] for made in (ours, again))
        assert torch.equal(one, other)


def test_nothing_known_is_refused(tmp_path: Path) -> None:
    single = [t | {"truncated": True, "terminated": False} for t in WALK[:5]]
    path = save(fill(ReplayBuffer(5, ignore_obs_next=True, **STACKED), single), tmp_path / "a")
    with pytest.raises(DatasetError, match="none of its 5 transitions has a next one"):
        TensorReplayBuffer.load(path)
    with pytest.raises(DatasetError, match="ignore_obs_next"):
        load_buffer(path)


@pytest.mark.parametrize("without_next", [False, True])
def test_such_files_can_be_described(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without_next: bool
) -> None:
    stock = ReplayBuffer(60, ignore_obs_next=without_next, **STACKED)
    path = save(fill(stock, WALK), tmp_path / "frames.hdf5")
    picture = tmp_path / "frames.png"
    assert describe.main([str(path), "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "transitions  60" in out and picture.stat().st_size > 0
    assert f"frames       uint8 ({SIDE}, {SIDE}), {STACK} stacked when drawn" in out
    assert ("obs_next is not stored" in out) == without_next
    assert f"max {LIMIT}" in out
