"""Indexed files that cannot be trusted: one clear error each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.buffers import TensorReplayBuffer
from data_tools.describe import main as describe
from data_tools.hdf5 import DatasetError, load_buffer
from tests.data_tools.indexed import collect_pair


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect_pair(tmp_path_factory.mktemp("good")).indexed


def put(name: str, place: Any, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][place] = value

    return change


def replaced(name: str, values: Any, **options: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, data=values, **options)

    return change


def attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if value is None:
            del file.attrs[name]
        else:
            file.attrs[name] = value

    return change


def linked(file: h5py.File) -> None:
    del file["rew"]
    file["rew"] = h5py.ExternalLink("elsewhere.hdf5", "rew")


def packed(values: Any, bits: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.create_dataset("extra/weight", data=values).attrs["bits"] = bits

    return change


def constants(values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file["last_decision"].attrs["account_constants"] = values

    return change


NUMBERS = np.arange(500)
FAULTS: dict[str, tuple[Callable[[h5py.File], None], str]] = {
    "version": (attribute("layout_version", 3), r"of version 3\. Expected 'indexed' of version 2"),
    "other layout": (attribute("layout", "mine"), r"layout 'mine' of version 2"),
    "no provenance": (attribute("provenance", None), "names no market"),
    "broken provenance": (attribute("provenance", "{"), "is not the JSON object"),
    "beyond the market": (
        put("decision", 123, 10**6), r"decision of transition 123 is 1000000\. Expected \d+ to 44\d"
    ),
    "before the windows are full": (put("decision", 7, 0), "decision of transition 7 is 0"),
    "negative": (put("last_decision", 1, -1), "decision of last observation 1 is -1"),
    "NaN account": (
        put("account_state", (40, 2), np.nan), "account_state of transition 40 is nan"
    ),
    "infinite last account": (
        put("last_account_state", (0, 4), np.inf), "account_state of last observation 0 is inf"
    ),
    "NaN reward": (put("rew", 9, np.nan), "rew of transition 9 is nan"),
    "action": (put("act", 3, 9), r"act of transition 3 is 9\. Expected 0 to 4"),
    "unknown flag": (put("flags", 5, 8), "flags of transition 5 are 8"),
    "end that stands not apart": (put("flags", 5, 1), "flags of transition 5 are 1"),
    "goes on at the end": (put("flags", 499, 0), "flags of transition 499 are 0"),
    "too many apart": (put("flags", 5, 4), r"\d+ transitions lead to observations that stand"),
    "missing": (lambda file: file.pop("flags"), "lacks flags"),
    "a link": (linked, "lacks rew"),
    "too short": (replaced("rew", np.zeros(499)), r"rew has shape \(499,\)"),
    "wrong type": (replaced("decision", NUMBERS * 0.5), "decision has shape .* float64"),
    "compressed": (replaced("decision", NUMBERS, compression="gzip"), "contiguous"),
    "big-endian": (replaced("decision", NUMBERS.astype(">i4")), "decision has shape .* >i4"),
    "nameless actions": (replaced("act", np.zeros(500, np.uint8)), "act is to be read as None"),
    "too few weights": (
        lambda file: file.create_dataset("extra/weight", data=np.zeros(499)),
        "extra/weight is not 500 rows",
    ),
    "no group": (replaced("extra", 1), "extra is no group"),
    "packed too small": (
        packed(np.zeros((500, 1), np.uint8), 9), "extra/weight is not 500 rows"
    ),
    "packed in numbers": (packed(np.zeros((500, 2)), 9), "extra/weight is not 500 rows"),
    "bits that are text": (
        packed(np.zeros((500, 2), np.uint8), "9"), "extra/weight is not 500 rows"
    ),
    "infinite constants": (constants(np.full(6, np.inf, np.float32)), "account_constants is"),
    "few constants": (constants(np.zeros(5, np.float32)), "account_constants is"),
    "other constants": (
        constants(np.zeros(6, np.float32)), r"last_account_state has shape .* Expected \(\d+, 0\)"
    ),
    "accounts lost": (lambda file: file.pop("last_account_state"), "lacks last_account_state"),
    "text": (replaced("act", np.array([b"a"] * 500)), "act has shape"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files_are_refused(
    good: Path, tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(good.read_bytes())
    change, message = FAULTS[fault]
    with h5py.File(path, "r+") as file:
        change(file)
    for mmap in (False, True):
        with pytest.raises(DatasetError, match=message) as caught:
            TensorReplayBuffer.load(path, mmap=mmap)
        assert "\n" not in str(caught.value) and "a.hdf5" in str(caught.value)
    with pytest.raises(DatasetError, match=message):
        load_buffer(path, echo=None)


@pytest.mark.parametrize("kept", [100, 3000, -1])
def test_a_file_that_was_cut_short_is_refused(
    good: Path, tmp_path: Path, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.hdf5"
    path.write_bytes(good.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"cannot be opened as HDF5|not an HDF5 file"):
        TensorReplayBuffer.load(path)
    assert describe([str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
