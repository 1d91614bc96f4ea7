"""Training on an indexed dataset is training on the full one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_tools.layouts import to_indexed
from tests.offline_algos import scripts


@pytest.mark.parametrize(
    ("name", "kind"), [("atari_style_cql", "dataset_file"), ("d4rl_style_dt", "continuous_file")]
)
def test_the_weights_are_the_same_bits(
    name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    full: Path = request.getfixturevalue(kind)
    made = []
    for dataset in (full, to_indexed(full, tmp_path / "indexed.hdf5")):
        logdir = tmp_path / dataset.stem
        assert scripts.run(name, dataset, logdir, "--seed", "3", *scripts.SOON) == 0
        folder, result = scripts.only_result(logdir)
        made.append((scripts.weights(folder / "policy.pth"), result["test"]))
    (left, scores), (right, others) = made
    assert left.keys() == right.keys() and scores == others
    for key, value in left.items():
        assert torch.equal(value, right[key]), key
    assert any(bool(value.any()) for value in left.values())
