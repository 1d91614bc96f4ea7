"""What writers of both layouts do with further columns."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from data_tools.flat_writer import FlatBufferWriter
from data_tools.indexed_format import BITS, unpack_bits
from data_tools.indexed_writer import IndexedWriter


@pytest.mark.parametrize("block_bytes", [1, 10**6])
@pytest.mark.parametrize("layout", ["full", "indexed"])
def test_further_columns_lie_with_their_rows(tmp_path: Path, layout: str, block_bytes: int) -> None:
    size, lanes, path = 11, 3, tmp_path / "a.hdf5"
    extra = {"mask": ((2,), np.dtype(np.bool_)), "logp": ((), np.dtype(np.float32))}
    values = np.random.default_rng(0).normal(size=(4, lanes)).astype(np.float32)
    options = {"size": size, "num_lanes": lanes, "extra": extra, "block_bytes": block_bytes}
    if layout == "full":
        writer, observation = FlatBufferWriter(path, observation_size=5, **options), np.zeros(5)
    else:
        writer = IndexedWriter(path, decisions=9, **options)
        observation = np.zeros((), writer.shown)
    none = np.zeros(lanes, np.bool_)
    with writer:
        writer.start(np.broadcast_to(observation, (lanes, *observation.shape)))
        for step in range(writer.num_steps):
            added = {"logp": values[step], "mask": np.stack([values[step] > 0, none], 1)}
            stopped = writer.shares == step + 1
            writer.add(np.zeros(lanes), np.zeros(lanes), none, stopped, observation, extra=added)
        writer.finish({"format_version": 1})
    expected = np.concatenate([values[:count, lane] for lane, count in enumerate(writer.shares)])
    with h5py.File(path) as file:
        group = file["_meta" if layout == "full" else "extra"]
        np.testing.assert_array_equal(group["logp"][:], expected)
        mask = group["mask"][:]
        if layout == "indexed":  # eight flags to a byte
            assert mask.shape == (size, 1) and group["mask"].attrs[BITS] == 2
            mask = unpack_bits(mask, 2)
        assert mask.dtype == np.bool_ and not mask[:, 1].any()
        np.testing.assert_array_equal(mask[:, 0], expected > 0)
