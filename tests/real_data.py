"""Real market files, where they are at hand; tests that need an absent one are skipped."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
FORMATS = DATA / "formats"
BITCOIN = DATA / "binance_btcusdt_1m_2023.csv.gz"
GOOGLE = DATA / "STOCKS_GOOGL.csv"
EURO = DATA / "forex_oanda_hour_eurusd.zip"


def needs(path):
    return pytest.mark.skipif(not path.exists(), reason=f"{path.name} is not at hand")


def given(path, *values):
    """A parameter (path, *values) of a test, skipped where the file is absent."""
    return pytest.param(path, *values, marks=needs(path), id=path.name)


def euro_bids():
    """Hourly bid prices of 2007, weekends left out, without a volume."""
    with zipfile.ZipFile(EURO) as archive, archive.open("eurusd.csv") as file:
        rows = pd.read_csv(file, header=None, nrows=4000, usecols=range(5))
    rows.columns = ["date", "open", "high", "low", "close"]
    return rows.assign(date=pd.to_datetime(rows["date"], format="%Y%m%d %H:%M"))
