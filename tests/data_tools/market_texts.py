"""What the tests of market formats share: reading, refusing, comparing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_tools.load import load
from gym_trade import MarketDataError
from tests import markets

FRAME = markets.hourly(40, 5, reach=0.003)


def read(path: Path) -> tuple[pd.DataFrame, str]:
    lines: list[str] = []
    frame = load(path, echo=lines.append)
    assert len(lines) == 1
    assert set(frame.dtypes) == {np.dtype(np.float64)}
    assert frame.index.dtype == np.dtype("datetime64[ns]")
    assert frame.index.name == "timestamp"
    return frame, lines[0]


def same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_freq=False)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(MarketDataError) as caught:
        load(path, echo=None)
    for part in (str(path), *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def pack(path: Path, **members: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
