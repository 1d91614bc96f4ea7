"""What the tests of the indexed layout share: the same transitions in both layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.data_tools.collecting import quiet, write_market

# Two frames, episodes that end in every way, and a decision every second bar.
WILD: dict[str, Any] = {
    "seed": 5,
    "policy": "ma-cross:fast=3,slow=9+random",
    "epsilon": 0.2,
    "env": {
        "time_frames": ["1hour", "4hour"], "window_sizes": [6, 3], "leverage": 25,
        "execute_on": "2hour",
    },
}  # fmt: skip


class Pair(NamedTuple):
    """One collection in both layouts."""

    full: Path
    indexed: Path
    market: Path


def collect_pair(folder: Path, **options: Any) -> Pair:
    """Collect with the same seed and flags in both layouts."""
    market = folder / "market.csv"
    write_market(market)
    made = {
        layout: quiet(folder / f"{layout}.hdf5", str(market), layout=layout, **(WILD | options))
        for layout in ("full", "indexed")
    }
    assert made["full"].provenance == made["indexed"].provenance
    return Pair(made["full"].path, made["indexed"].path, market)


WIDTH = 6 * 5 + 3 * 5 + 6  # of WILD's observations


def bits(values: Any) -> tuple[Any, ...]:
    array = np.asarray(values)
    return array.dtype, array.shape, array.tobytes()


def market_frame(pair: Pair) -> Any:
    from data_tools.load import load

    return load(pair.market, echo=None)
