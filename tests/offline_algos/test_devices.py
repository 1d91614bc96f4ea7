"""Updates work on any device: nothing in them is bound to the CPU.

Torch's meta device has shapes and no numbers. A tensor that was made on the CPU, or one that is
read as a NumPy array, is an error beside tensors of it, as it would be on a GPU.
"""

from __future__ import annotations

import pytest
import torch

from data_tools.buffers import TensorReplayBuffer
from offline_algos import updates
from offline_algos.prefetch import BatchesAhead, MovedBatches
from offline_algos.transfer import Transfer
from tests.offline_algos import batches, prioritised, scripts


@pytest.fixture(autouse=True)
def numbers(monkeypatch):
    """Losses are read as numbers, and the fused optimisers know real devices only."""
    monkeypatch.setattr(torch.Tensor, "item", lambda self: 0.5)
    make, tune = torch.optim.Adam, torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, fused=False, **k: make(*a, **k))
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, fused=False, **k: tune(*a, **k))


@pytest.mark.parametrize("name", scripts.NAMES)
def test_updates_on_another_device(name):
    data = batches.dataset(action_width=int(name.startswith("d4rl")))
    algorithm, actor = scripts.make_algorithm(name, device="meta", data=data)
    assert {value.device.type for value in algorithm.parameters()} == {"meta"}
    assert isinstance(algorithm, updates.TensorUpdates)
    buffer = algorithm.process_buffer(TensorReplayBuffer(data, "meta"))
    for _ in range(3):
        algorithm.update(buffer, 32)
    actions = actor(torch.zeros(4, batches.COLUMNS, device="meta"))
    assert actions.device.type == "meta" and len(actions) == 4


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("name", scripts.NAMES)
def test_the_data_may_stay_on_the_cpu(name, ahead):
    data = batches.dataset(action_width=int(name.startswith("d4rl")))
    algorithm, _ = scripts.make_algorithm(name, device="meta", data=data)
    source = algorithm.process_buffer(TensorReplayBuffer(data, "cpu"))
    there = Transfer("meta")
    moved = BatchesAhead(source, ahead, there) if ahead else MovedBatches(source, there)
    for _ in range(3):
        algorithm.update(moved, 32)
    if ahead:
        moved.close()


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("name", prioritised.NAMES)
def test_prioritised_updates_on_another_device(name, moves, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: torch.zeros(self.shape))  # errors
    algorithm, buffer = prioritised.make(name, "meta")
    source = prioritised.prioritised(prioritised.make(name)[1] if moves else buffer)
    for _ in range(3):
        algorithm.update(MovedBatches(source, Transfer("meta")) if moves else source, 32)
    assert source.priorities.drawn == 3


def test_the_check_notices_what_stays_behind():
    algorithm, _ = scripts.make_algorithm("d4rl_style_td3_bc", device="meta")
    buffer = algorithm.process_buffer(TensorReplayBuffer(batches.dataset(action_width=1), "cpu"))
    with pytest.raises(RuntimeError, match="device"):
        algorithm.update(buffer, 32)
