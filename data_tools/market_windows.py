"""The windows that a dataset's observations consist of, opened again from its provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.environment import open_market, reopen_market
from data_tools.flat_layout import DatasetError
from gym_trade import Market, SequentialConfig
from gym_trade.arguments import CALLABLE_PREFIX
from gym_trade.grid import market_tables
from gym_trade.spaces import window_layout
from gym_trade.tables import Tables
from gym_trade.types import ACCOUNT_STATE_WIDTH, Float32, Float64, Int64, Windows
from gym_trade.windows import Shown, gather_observations

# What decides an environment's windows, of all its arguments.
_WINDOW_ARGUMENTS = ("time_frames", "window_sizes", "execute_on", "features")
_RAW: tuple[Float64, Float64] = (np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class MarketWindows:
    """A market's windows, from which flat observations are put together.

    Attributes:
        arrays: (starts, lengths, features), as `gym_trade.observing.observe` takes them.
        first: The first decision instant at which all windows are full.
        layout: The parts of an observation, as a provenance lists them.
    """

    arrays: Windows
    first: int
    layout: list[dict[str, Any]]

    @classmethod
    def of(cls, tables: Tables) -> MarketWindows:
        """The windows of one market's tables."""
        parts = [
            {"key": part.key, "start": part.start, "stop": part.stop, "shape": list(part.shape)}
            for part in window_layout(tables)
        ]
        arrays = (tables.starts, tables.lengths, tables.features)
        return cls(arrays, tables.first_decision, parts)

    @property
    def decisions(self) -> int:
        """Decision instants of the market; windows are full from `first` on."""
        return len(self.arrays[0])

    @property
    def width(self) -> int:
        """Numbers in a flat observation."""
        return int(self.arrays[1].sum()) + ACCOUNT_STATE_WIDTH

    def gather(
        self, places: Int64, shown: Shown, moments: tuple[Float64, Float64] | None = None
    ) -> Float32:
        """Observations, float32 (n, width); see `gym_trade.windows.gather_observations`."""
        out = np.empty((len(places), self.width), np.float32)
        gather_observations(places, shown, self.arrays, moments or _RAW, out)
        return out

    def observations(self, decisions: npt.NDArray[Any], accounts: Float32) -> Float32:
        """Observations, float32 (n, width).

        Args:
            decisions: Integers (n,), each `first` to `decisions` - 1: they are not checked.
            accounts: float32 (n, 6).
        """
        shown = (decisions, accounts, decisions[:0], accounts[:0])
        return self.gather(np.arange(len(decisions)), shown)


def open_windows(
    path: str | os.PathLike[str],
    provenance: dict[str, Any] | None,
    *,
    market: Market | str | None = None,
    features: Any = None,
    echo: Callable[[str], object] | None = None,
) -> MarketWindows:
    """Open the market that a dataset was made from and make its windows again.

    Args:
        path: The dataset, for messages.
        provenance: What it says about itself.
        market: The market, or what ``--market`` would name; None: where the provenance says it is.
        features: The function or functions that the environment had as `features`. A file that
            names code of its maker's own is refused without.
        echo: Receives what was recognised in a market file.

    Raises:
        DatasetError: The dataset names no market, the market has changed or cannot be read, or
            its windows are not those that the dataset describes.
    """
    facts = (provenance or {}).get("market")
    if provenance is None or facts is None:
        raise DatasetError(f"{path} names no market, of which its observations could be windows.")
    config = provenance["config"]
    chosen = {name: config[name] for name in _WINDOW_ARGUMENTS if config.get(name) is not None}
    foreign = json.dumps(chosen.get("features"))
    if features is not None:
        chosen["features"] = features
    elif CALLABLE_PREFIX in foreign:
        raise DatasetError(
            f"{path} was made with code of its maker's own, features={foreign}, which would be "
            f"imported and run. If you trust it, pass it on: --env 'features={foreign}', or "
            "features= in Python."
        )
    try:
        opened = _open_market(facts, market, echo)
        asked = SequentialConfig(df=opened, **chosen)
        made = MarketWindows.of(market_tables(asked, ("0",), (opened,))[0])
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{path}: its observations are windows of a market that cannot be used: {error}"
        ) from error
    if made.layout != provenance["layout"]:
        raise DatasetError(
            f"{path}: the market gives observations of {_text(made.layout)}, the dataset describes "
            f"{_text(provenance['layout'])}. Make the dataset anew."
        )
    return made


def _open_market(
    facts: dict[str, Any],
    market: Market | str | None,
    echo: Callable[[str], object] | None,
) -> Market:
    """The market of a provenance, or another one of the same content."""
    if market is None:
        return reopen_market(facts, echo=echo)
    if isinstance(market, str):
        market, _ = open_market(market, market_arguments=facts.get("arguments"), echo=echo)
    if market.content_hash != facts["content_hash"]:
        raise ValueError(
            f"market={market}: its content hash is {market.content_hash[:16]}..., and the data was "
            f"made from {facts['content_hash'][:16]}.... Give that market."
        )
    return market


def _text(layout: list[dict[str, Any]]) -> str:
    return ", ".join(f"{part['key']} {part['shape']}" for part in layout)
