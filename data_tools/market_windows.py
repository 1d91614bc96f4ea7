"""The windows that a dataset's observations consist of, opened again from its provenance."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.environment import open_market, reopen_market
from data_tools.flat_layout import DatasetError
from gym_trade import Market, SequentialConfig, aligned
from gym_trade.arguments import CALLABLE_PREFIX
from gym_trade.grid import market_tables
from gym_trade.spaces import window_layout
from gym_trade.tables import Tables
from gym_trade.types import ACCOUNT_STATE_WIDTH, Float32, Int64, Windows
from gym_trade.windows import Moments, gather_observations

# What decides an environment's windows, of all its arguments.
_WINDOW_ARGUMENTS = ("time_frames", "window_sizes", "execute_on", "features")
_ROWS_A_PASS = 4096
NOT_NORMALISED: Moments = (np.zeros(0), np.zeros(0), np.zeros(0))


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

    def normalised(
        self, decisions: tuple[int, int], moments: Moments, most_bytes: int
    ) -> MarketWindows | None:
        """The same windows, normalised by their columns' moments once for all.

        A bar stands in another column of each window that it is in, so that windows must be stored
        apart: those of each decision in one piece, which is copied fastest, or else each different
        window of a frame, of which coarse frames have few.

        Args:
            decisions: The first and the last decision that will be asked for.
            moments: Mean, standard deviation and limit, float64 (width,).
            most_bytes: None is returned where it would take more.
        """
        starts, lengths, features = self.arrays
        low, high = decisions
        total, every = int(lengths.sum()), starts[low : high + 1]
        if len(every) * total * features.itemsize <= most_bytes:
            made = aligned.zeros((len(every), total), np.float32)
            column = 0
            for frame, length in enumerate(lengths.tolist()):
                columns = slice(column, column + length)
                _normalise(features, every[:, frame], moments, columns, made[:, columns])
                column += length
            places = (np.arange(len(starts)) - low)[:, None] * total
            return replace(self, arrays=(places, np.array([total]), made.reshape(-1)))
        found = [np.unique(column, return_inverse=True) for column in every.T]
        sizes = [len(begins) * int(n) for (begins, _), n in zip(found, lengths, strict=True)]
        if sum(sizes) * features.itemsize > most_bytes:
            return None
        stored, places = aligned.zeros(sum(sizes), np.float32), np.zeros_like(starts)
        offset = column = 0
        for frame, (begins, which) in enumerate(found):
            length = int(lengths[frame])
            rows = stored[offset : offset + sizes[frame]].reshape(-1, length)
            _normalise(features, begins, moments, slice(column, column + length), rows)
            places[low : high + 1, frame] = offset + which.reshape(-1) * length
            offset, column = offset + sizes[frame], column + length
        return replace(self, arrays=(places, lengths, stored))

    def observations(self, decisions: npt.NDArray[Any], accounts: Float32) -> Float32:
        """Observations, float32 (n, width).

        Args:
            decisions: Integers (n,), each `first` to `decisions` - 1: they are not checked.
            accounts: float32 (n, 6).
        """
        flat = accounts.reshape(-1)
        shown = (decisions, flat, decisions[:0], flat[:0])
        out = np.empty((len(decisions), self.width), np.float32)
        rows = np.arange(len(decisions))
        gather_observations(rows, shown, self.arrays, NOT_NORMALISED, out)
        return out


def _normalise(
    features: Float32,
    begins: Int64,
    moments: Moments,
    columns: slice,
    out: Float32,
) -> None:
    """Write the windows that begin at `begins`, normalised as `columns` are, in float64."""
    mean, std, limit = (part[columns] for part in moments)
    for begin in range(0, len(begins), _ROWS_A_PASS):
        part = begins[begin : begin + _ROWS_A_PASS, None] + np.arange(len(mean))
        out[begin : begin + len(part)] = np.clip((features[part] - mean) / std, -limit, limit)


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
        path: As for `open_tables`.
        provenance: As for `open_tables`.
        market: As for `open_tables`.
        features: As for `open_tables`.
        echo: As for `open_tables`.

    Raises:
        DatasetError: As for `open_tables`.
    """
    return MarketWindows.of(
        open_tables(path, provenance, market=market, features=features, echo=echo)[1]
    )


def open_tables(
    path: str | os.PathLike[str],
    provenance: dict[str, Any] | None,
    *,
    market: Market | str | None = None,
    features: Any = None,
    echo: Callable[[str], object] | None = None,
) -> tuple[Market, Tables]:
    """Open the market that a dataset was made from: its bars, decisions and windows.

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
        raise DatasetError(
            f"{path} names no market, of which its observations could be windows: its provenance "
            "is gone, or it is of a task without. Make it anew with data_tools.collect."
        )
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
        opened = market_of(facts, market, echo)
        asked = SequentialConfig(df=opened, **chosen)
        tables = market_tables(asked, ("0",), (opened,))[0]
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{path}: its observations are windows of a market that cannot be used: {error}"
        ) from error
    layout = MarketWindows.of(tables).layout
    if layout != provenance["layout"]:
        raise DatasetError(
            f"{path}: the market gives observations of {_text(layout)}, the dataset describes "
            f"{_text(provenance['layout'])}. Make the dataset anew."
        )
    return opened, tables


def market_of(
    facts: dict[str, Any],
    market: Market | str | None = None,
    echo: Callable[[str], object] | None = None,
) -> Market:
    """The market of a provenance, or another one of the same content.

    Args:
        facts: The provenance's ``market``.
        market: As for `open_windows`.
        echo: As for `open_windows`.

    Raises:
        ValueError: It cannot be read, or has other bars.
    """
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
