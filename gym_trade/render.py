"""Pictures of an episode: price with fills, portfolio against buy-and-hold, exposure.

Figures are made without pyplot, so they change no backend, no current figure and no count of open
ones; only the window of ``render_mode="human"`` asks pyplot which backend is in use.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from gym_trade.types import Bool, Float64, Int64

if TYPE_CHECKING:  # importing the environments loads no matplotlib
    from matplotlib.figure import Figure

Image: TypeAlias = npt.NDArray[np.uint8]
# Okabe and Ito's colours, told apart with any colour vision; every kind has its own shape too.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
GRAY = "#6E6E6E"
_SERIES = ["price", "portfolio_value", "exposure"]
_LABELS = ("price (quote)", "portfolio (quote)", "exposure (x)")

_LEFT, _RIGHT, _BOTTOM, _TOP, _TITLE, _GAP = 0.95, 0.2, 0.55, 0.34, 0.25, 0.36  # inches
_DPI, _WIDTH, _HEIGHT = 100, 800, 600  # the frame in which text has its natural size
_LAYOUT: dict[str, Any] = {"layout": "none"}  # whatever the user's rcParams ask for
_STILL_COLUMNS = 4000  # a still figure may be saved larger than it is shown

# Marker, colour, relative size, reasons (none: the agent's, told apart by side); later ones on top.
KINDS: dict[str, tuple[str, str, float, tuple[str, ...]]] = {
    "long entry": ("^", BLUE, 1.0, ()),
    "short entry": ("v", VERMILLION, 1.0, ()),
    "exit": ("o", GRAY, 0.8, ()),
    "take profit": ("D", GREEN, 0.75, ("take_profit",)),
    "stop loss": ("s", ORANGE, 0.8, ("stop_loss",)),
    "liquidation, margin call": ("X", PURPLE, 1.25, ("liquidation", "margin_call")),
}


def fill_kinds(fills: pd.DataFrame) -> dict[str, Bool]:
    """A mask over the fills for each of `KINDS`; every fill is in exactly one.

    A fill of the agent's that leaves a position on its own side is an entry, be it an opening, an
    increase or a flip. A decrease, a close and the close that ends a rollout are exits.
    """
    quantity, position = (fills[name].to_numpy(np.float64) for name in ("quantity", "position"))
    masks = {name: fills["reason"].isin(kind[3]).to_numpy() for name, kind in KINDS.items()}
    free = ~np.logical_or.reduce(list(masks.values()))
    masks["long entry"] = free & (quantity > 0) & (position > 0)
    masks["short entry"] = free & (quantity < 0) & (position < 0)
    masks["exit"] = free & ~masks["long entry"] & ~masks["short entry"]
    return masks


def extremes(x: Float64, y: Float64, limits: tuple[float, float], columns: int) -> Int64:
    """Indices of the points that draw the same line as all of them.

    They are the first, lowest, highest and last of each of the `columns` that divide `limits`
    (Jugel et al. 2014, "M4"), or all where that gains nothing. `x` does not decrease.
    """
    count = len(x)
    if count <= 4 * columns:
        return np.arange(count)
    place = (x - limits[0]) / (limits[1] - limits[0]) * columns
    column = np.clip(place, 0, columns - 1).astype(np.int64)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(starts[1:], count)
    kept = [starts, ends - 1]
    for reduce in (np.fmin, np.fmax):
        hits = np.flatnonzero(y == np.repeat(reduce.reduceat(y, starts), ends - starts))
        kept.append(hits[np.flatnonzero(np.diff(column[hits], prepend=-1))])
    return np.unique(np.concatenate(kept))


def _padded(values: Float64, share: float, alone: float) -> tuple[float, float]:
    """Axis limits around values, `alone` to each side of a single one."""
    low, high = float(values.min()), float(values.max())
    spread = high - low > 1e-9 * max(abs(low), abs(high))
    pad = share * (high - low) if spread else alone
    return low - pad, high + pad


def _canvas(size: tuple[float, float], dpi: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return FigureCanvasAgg(Figure(figsize=size, dpi=dpi, **_LAYOUT))


class _Panels:
    """The three panels of a figure; `draw` sets all that they show."""

    def __init__(self, figure: Figure) -> None:
        from matplotlib import dates, rcParams, ticker

        self.figure, ink = figure, rcParams["axes.labelcolor"]
        self.dates: Any = dates
        self.axes: list[Any] = list(figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1.2)))
        price, portfolio, exposure = self.axes
        for axes, label, ticks in zip(self.axes, _LABELS, (6, 5, 3), strict=True):
            axes.set_ylabel(label, fontsize=9)
            axes.tick_params(labelsize=8)
            axes.grid(True, lw=0.6, alpha=0.35)
            axes.spines[["top", "right"]].set_visible(False)
            axes.yaxis.set_major_locator(ticker.MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
            axes.ticklabel_format(axis="y", scilimits=(-4, 7), useOffset=False)
            axes.yaxis.get_offset_text().set(x=-0.06, fontsize=8)  # "1e7", left of the legend
        time = exposure.xaxis
        locator = self.dates.AutoDateLocator(tz=datetime.UTC, minticks=4, maxticks=11)
        time.set_major_locator(locator)
        time.set_major_formatter(self.dates.ConciseDateFormatter(locator, tz=datetime.UTC))
        time.get_offset_text().set_fontsize(8)
        time.set_label_text("time (UTC)", fontsize=9)
        (self.price,) = price.plot([], [], color=ink, lw=0.9, alpha=0.75, label="price")
        self.marks = {
            name: price.plot([], [], marker, color=color, mec="white", label=name)[0]
            for name, (marker, color, _, _) in KINDS.items()
        }
        self.marks["exit"].set(markeredgecolor=GRAY, markerfacecolor="white")
        (self.hold,) = portfolio.plot([], [], color=ORANGE, lw=1.1, label="buy and hold")
        (self.value,) = portfolio.plot([], [], color=BLUE, lw=1.4, label="portfolio")
        exposure.axhline(0.0, color=ink, lw=0.8)
        # What is held at an instant was held over the step that ends there: hence "pre".
        (self.exposure,) = exposure.plot([], [], color=BLUE, lw=1, ds="steps-pre", label="exposure")
        (self.area,) = exposure.fill([], [], color=BLUE, lw=0, alpha=0.2)
        self.title = figure.text(0.0, 0.0, "", fontsize=11, fontweight="bold", va="top")
        self.named: list[object] = [None, None]  # what each legend lists

    def draw(self, history: pd.DataFrame, fills: pd.DataFrame, title: str, columns: int) -> None:
        """Show an episode so far, series longer than 4 * `columns` by their extremes."""
        stamps = (frame["timestamp"].to_numpy("datetime64[ns]") for frame in (history, fills))
        times, at = map(self.dates.date2num, stamps)
        paid = fills["price"].to_numpy(np.float64)
        price, value, exposure = history[_SERIES].to_numpy(np.float64).T
        hold = value[0] * (price / price[0])
        start, end = _padded(np.append(times, at) - times[0], 0.015, 1 / 48)
        limits = self.axes[0].set_xlim(times[0] + start, times[0] + end)
        lines = (self.price, self.hold, self.value, self.exposure)
        for line, series in zip(lines, (price, hold, value, exposure), strict=True):
            kept = extremes(times, series, limits, columns)
            line.set_data(times[kept], series[kept])
            line.set_marker("." if len(times) == 1 else "none")  # one point makes no line
        corners = np.zeros((2 * len(kept), 2))  # `kept` is the exposure's: shade its steps
        corners[:, 0] = np.repeat(times[kept], 2)
        corners[1:-1, 1] = np.repeat(exposure[kept[1:]], 2)
        self.area.set_xy(corners)
        size = float(np.clip(7.5 * (80 / max(len(at), 1)) ** 0.4, 3.5, 7.5))  # many: smaller
        for name, mask in fill_kinds(fills).items():
            chosen = np.flatnonzero(mask)
            chosen = chosen[extremes(at[chosen], paid[chosen], limits, columns)]
            self.marks[name].set_data(at[chosen], paid[chosen])
            self.marks[name].set(markersize=size * KINDS[name][2], markeredgewidth=size / 9)
        shown = (np.append(price, paid), np.append(value, hold), np.append(exposure, 0.0))
        for axes, values in zip(self.axes, shown, strict=True):
            axes.set_ylim(*_padded(values, 0.06, 0.01 * float(np.abs(values).max()) or 1.0))
        self._name(value[-1] / value[0] - 1, hold[-1] / value[0] - 1)
        self._lay_out(title)

    def _name(self, earned: float, held: float) -> None:
        """Legends of what there is, beside the returns so far."""
        marks = [line for line in self.marks.values() if np.size(line.get_xdata())]
        for panel, lines in enumerate(([self.price, *marks], [self.value, self.hold])):
            names = [(str(line.get_label()), str(line.get_marker())) for line in lines]
            if names == self.named[panel]:
                continue
            self.named[panel] = names
            legend: Any = self.axes[panel].legend(
                handles=lines, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(lines),
                frameon=False, fontsize=8, borderaxespad=0.1, borderpad=0.2,
                columnspacing=1.2, handletextpad=0.4, handlelength=1.4,
            )  # fmt: skip
            for line in legend.legend_handles:
                line.set(markersize=7.0, markeredgewidth=0.8)  # the fills' own varies
        legend = self.axes[1].get_legend()
        legend.get_texts()[0].set_text(f"portfolio {earned:+.1%}")
        legend.get_texts()[1].set_text(f"buy and hold {held:+.1%}")

    def _lay_out(self, title: str) -> None:
        """Margins in inches, so that text fits at any size; less where there is no room."""
        size = self.figure.get_size_inches()
        width, height = size / min(1.0, *(size / (4.0, 3.0)))
        top = height - _TOP - (_TITLE if title else 0.0)
        self.figure.subplots_adjust(
            left=_LEFT / width, right=1 - _RIGHT / width, bottom=_BOTTOM / height,
            top=top / height, hspace=3 * _GAP / (top - _BOTTOM - 2 * _GAP),
        )  # fmt: skip
        for axes in self.axes:
            axes.yaxis.set_label_coords(-0.72 * _LEFT / (width - _LEFT - _RIGHT), 0.5)
        self.title.set(text=title, x=_LEFT / width, y=1 - 0.1 / height)


def history_figure(
    history: pd.DataFrame, fills: pd.DataFrame, title: str = "",
    size: tuple[float, float] = (10.0, 7.5), dpi: int = 100,
) -> Figure:  # fmt: skip
    """Draw an episode in three panels over one time axis.

    Args:
        history: A row for each decision instant from the reset on: timestamp (UTC without a zone,
            increasing), price, portfolio_value, exposure (signed, times the portfolio value).
        fills: A row for each fill, in order, or none: timestamp (the open of its bar), price,
            quantity (signed base units), position (afterwards), reason.
        title: Written at the top.
        size: Width and height in inches, of `dpi` pixels.
        dpi: Pixels per inch.

    Returns:
        A figure of its own, unknown to pyplot: ``figure.savefig(path)`` writes it.
    """
    figure: Figure = _canvas(size, dpi).figure
    draw_history(figure, history, fills, title)
    return figure


def draw_history(figure: Figure, history: pd.DataFrame, fills: pd.DataFrame, title: str) -> None:
    """Draw what `history_figure` draws into a figure that is empty."""
    _Panels(figure).draw(history, fills, title, _STILL_COLUMNS)


def _open_window(size: tuple[float, float], dpi: float) -> Any:
    """A window of the backend in use, without making it pyplot's current figure."""
    from matplotlib import backend_bases, pyplot

    make: Any = pyplot.new_figure_manager
    cause = None
    try:
        manager = make(0, figsize=size, dpi=dpi, **_LAYOUT)
        # A backend without windows leaves `show` as the base class has it.
        if type(manager).show is not backend_bases.FigureManagerBase.show:
            manager.set_window_title("gym_trade")
            manager.show()
            return manager
    except Exception as error:  # each toolkit has its own
        cause = error
    raise RuntimeError(
        'render_mode="human" needs a display and a GUI backend such as MPLBACKEND=QtAgg, and here '
        f'it is {pyplot.get_backend()!r}. Or use render_mode="rgb_array", which needs neither.'
    ) from cause


class Renderer:
    """Frames of a growing episode, for render_mode rgb_array and human.

    One figure is kept and its data replaced: what it shows depends on nothing shown before.
    `history`, `fills` and `title` are those of `history_figure`.

    Args:
        mode: "rgb_array" or "human", which opens its window here.
        width: Of a frame, in pixels. Text grows with the frame.
        height: Of a frame, in pixels.

    Raises:
        ValueError: An unknown mode, or a frame under 64 pixels.
        RuntimeError: "human" without a window; later, one that is closed or of the other mode.
    """

    def __init__(self, mode: str, width: int = 800, height: int = 600) -> None:
        if mode not in ("rgb_array", "human"):
            raise ValueError(f"mode must be 'rgb_array' or 'human', got {mode!r}.")
        if min(width, height) < 64:
            raise ValueError(f"width and height must be 64 or more, got {width} and {height}.")
        self._mode, self._closed = mode, False
        dpi = _DPI * min(width / _WIDTH, height / _HEIGHT)
        # The canvas rounds down: a bit more makes it exactly the size that was asked for.
        size = (width + 0.01) / dpi, (height + 0.01) / dpi
        self._window: Any = _open_window(size, dpi) if mode == "human" else None
        self._canvas: Any = self._window.canvas if self._window else _canvas(size, dpi)
        self._canvas.mpl_connect("close_event", self._lose_window)
        self._panels: Any = _Panels(self._canvas.figure)

    def _lose_window(self, _event: object) -> None:
        self._window = None

    def _draw(self, mode: str, history: pd.DataFrame, fills: pd.DataFrame, title: str) -> None:
        if self._closed:
            raise RuntimeError("this renderer is closed. Make a new one.")
        if mode != self._mode:
            raise RuntimeError(f"this renderer is for {self._mode!r}, not {mode!r}.")
        if mode == "human" and self._window is None:
            return
        columns = max(1, round(self._panels.axes[0].bbox.width))
        self._panels.draw(history, fills, title, columns)
        self._canvas.draw()
        self._canvas.flush_events()  # pyplot.pause would raise the window over the others

    def frame(self, history: pd.DataFrame, fills: pd.DataFrame, title: str = "") -> Image:
        """The episode so far as uint8 (height, width, 3), an array of its own."""
        self._draw("rgb_array", history, fills, title)
        return np.array(np.asarray(self._canvas.buffer_rgba())[..., :3], np.uint8)

    def show(self, history: pd.DataFrame, fills: pd.DataFrame, title: str = "") -> None:
        """Draw the episode so far in the window; nothing once its user has closed it."""
        self._draw("human", history, fills, title)

    def close(self) -> None:
        """Close the window and let go of the figure. Closing twice does nothing."""
        window, self._window, self._closed = self._window, None, True
        if window is not None:
            window.destroy()
        self._canvas = self._panels = None
