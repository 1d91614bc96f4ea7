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


def klines(frame: pd.DataFrame, unit: str, *, header: bool) -> str:
    scale = {"ms": 10**6, "us": 10**3}[unit]
    stamps = frame.index.astype("int64") // scale
    table = frame.reset_index(drop=True)
    table.insert(0, "open_time", stamps)
    rest = dict(close_time=stamps + 3_600_000_000_000 // scale - 1, quote_volume=9.5, count=7,
                taker_buy_volume=1.5, taker_buy_quote_volume=2.5, ignore=0)  # fmt: skip
    return table.assign(**rest).to_csv(index=False, header=header)
