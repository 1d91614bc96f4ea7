"""Pictures of markets and datasets, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_tools.command_line import CommandLineError
from data_tools.dataset_report import DatasetReport, example_episode
from data_tools.files import replacing
from data_tools.market_report import MarketReport

FORMATS = (".png", ".pdf", ".svg")
_COLUMNS = 1200  # points drawn along time; more bars than that are drawn in groups


def check_picture_name(path: Path) -> None:
    """Refuse a picture that could not be written, before the work is done.

    Raises:
        CommandLineError: Its suffix or its folder is no use.
    """
    if path.suffix.lower() not in FORMATS:
        raise CommandLineError(f"--plot {path}: expected a name ending in {', '.join(FORMATS)}.")
    if not path.parent.is_dir():
        raise CommandLineError(f"--plot {path}: there is no folder {path.parent}. Make it first.")


def draw_market(report: MarketReport, path: Path) -> None:
    """Draw price and volume over time, and write the picture.

    Raises:
        CommandLineError: The picture cannot be written.
    """
    frame = report.frame.sort_index(kind="stable")
    starts = np.unique(np.linspace(0, len(frame), _COLUMNS + 1).astype(np.int64)[:-1])
    times = frame.index.to_numpy()[starts]
    figure = Figure(figsize=(12, 7), layout="constrained")
    price, volume = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    low = _grouped(np.fmin, frame["low"], starts)
    price.fill_between(times, low, _grouped(np.fmax, frame["high"], starts), alpha=0.35, lw=0)
    price.plot(times, frame["close"].to_numpy()[starts], lw=0.8, label="close")
    for row in sorted({row for row, _ in report.bad_rows})[:_COLUMNS]:
        price.axvline(report.frame.index[row], color="tab:red", lw=0.5, alpha=0.5)
    price.set_ylabel("price (bad rows in red)" if report.bad_rows else "price")
    price.set_title(f"{len(frame)} bars, {report.gaps} gaps, {len(report.bad_rows)} faults")
    if "volume" in frame:
        volume.fill_between(times, _grouped(np.add, frame["volume"], starts), lw=0, step="post")
    volume.set_ylabel("volume")
    _write(figure, path)


def _grouped(
    reduce: np.ufunc, column: pd.Series[float], starts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Reduce each group of bars; missing and infinite numbers leave a hole."""
    values: npt.NDArray[np.float64] = reduce.reduceat(column.to_numpy(), starts)
    return np.where(np.isfinite(values), values, np.nan)


def draw_dataset(report: DatasetReport, path: Path) -> None:
    """Draw returns, actions and the first episode, and write the picture.

    Raises:
        CommandLineError: The picture cannot be written.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    returns = figure.add_subplot(grid[0, 0])
    finite = report.returns[np.isfinite(report.returns)]
    returns.hist(finite, bins=min(50, max(5, len(finite) // 5)))
    returns.set(xlabel="return of an episode", ylabel="episodes")
    returns.set_title(f"{report.transitions} transitions, {len(report.returns)} episodes")
    actions = figure.add_subplot(grid[0, 1])
    labels = [label for label, _ in report.actions]
    actions.barh(range(len(labels)), [count for _, count in report.actions])
    actions.set_yticks(range(len(labels)), labels)
    actions.set(xlabel="transitions", title="actions")
    _draw_example(figure.add_subplot(grid[1, :]), example_episode(report.path))
    _write(figure, path)


def _draw_example(axes: Any, episode: dict[str, Any]) -> None:
    steps = np.arange(1, len(episode["reward"]) + 1)
    axes.plot(steps, np.cumsum(episode["reward"]), label="sum of rewards")
    axes.set(xlabel="step", ylabel="sum of rewards", title="the first episode")
    if episode["exposure"] is not None:
        other = axes.twinx()
        other.step(steps, episode["exposure"], where="post", color="tab:gray", lw=0.7, alpha=0.7)
        other.set_ylabel("exposure (gray)")


def _write(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    try:
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=120)
    except OSError as error:
        raise CommandLineError(
            f"--plot {path} cannot be written: {error.strerror or error}."
        ) from None
