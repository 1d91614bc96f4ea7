"""Datasets for the modules that do not make their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data_tools.collecting import write_market
from tests.data_tools.indexed import Pair, collect_pair
from tests.data_tools.relabelled import collect_all
from tests.data_tools.sharding import sharded


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_market(tmp_path_factory.mktemp("market") / "wild.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, market_file: str) -> Path:
    """The folder of an uninterrupted collection."""
    folder = tmp_path_factory.mktemp("whole")
    sharded(folder, market_file)
    return folder


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A dataset of each kind that can be relabelled."""
    return collect_all(tmp_path_factory.mktemp("collected"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The same collection in both layouts."""
    return collect_pair(tmp_path_factory.mktemp("pair"), buffer_size=700)
