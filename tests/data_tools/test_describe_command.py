"""The command line of descriptions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_tools.describe import main
from tests.data_tools.descriptions import REPOSITORY, bars, collected, foreign, save


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return collected(tmp_path)


def test_command_line_and_picture(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "a.png"
    assert main([str(dataset), "--plot", str(plot)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"picture written to {plot}"
    assert plot.read_bytes().startswith(b"\x89PNG")
    renamed = dataset.rename(tmp_path / "trades.dat")
    assert main([str(renamed)]) == 0
    assert "transitions  1000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["none.csv"], ["none.csv does not exist"]),
        (["none.hdf5"], ["none.hdf5 does not exist", "data_tools.collect"]),
        (["spoilt.hdf5"], ["spoilt.hdf5: its provenance is not", "task is missing"]),
        (["m.parquet"], ["m.parquet is not a sound Parquet file"]),
        (["m.xlsx"], [".xlsx", ".csv.gz"]),
        (["m.csv", "--plot", "m.jpg"], ["--plot m.jpg", ".png, .pdf, .svg"]),
        (["m.csv", "--plot", "none/m.png"], ["there is no folder none"]),
        (["m.csv", "--plto", "m.png"], ["--plto"]),
        ([], ["file"]),
    ],
)
def test_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], parts: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.csv", bars())
    for name in ("m.parquet", "m.xlsx"):
        (tmp_path / name).write_bytes(b"PAR1")
    foreign(tmp_path / "spoilt.hdf5", np.arange(25, dtype=np.float32))
    with h5py.File(tmp_path / "spoilt.hdf5", "r+") as file:
        file.attrs["provenance"] = '{"format_version": 1}'
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error


def test_an_unwritable_picture_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "m.csv", bars())

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_tools.files.os.replace", full)
    assert main([str(tmp_path / "m.csv"), "--plot", str(tmp_path / "m.png")]) == 2
    assert "m.png cannot be written: No space left" in capsys.readouterr().err
    assert [item.name for item in tmp_path.iterdir()] == ["m.csv"]


def test_runs_as_a_module_and_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    frame = bars(3000)
    frame["volume"] = -1.0
    path = save(tmp_path / "m.csv", frame)
    module = f"{sys.executable} -W error -m data_tools.describe {path}"
    for reader, lines in (("true", 0), ("head -n 1", 1), ("cat", 30)):
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {module} | {reader}"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == lines
