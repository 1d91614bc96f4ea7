"""What the pictures of the scores benchmark share: which rows they show, and how they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.plots import DASHES, MARKERS, PALETTE
from benchmarks.suite_config import size_name

WIDE, HIGH = 3.9, 2.7  # inches of a panel
COLUMNS = 3
ENTRY = 1.25  # inches of an entry of a legend
GREY = "0.45"
# Controls are grey: what is in colour learned from data.
CONTROLS: dict[str, dict[str, Any]] = {
    "optimum": {"color": GREY, "ls": "-", "lw": 1.8},
    "optimum-kept": {"color": "0.65", "ls": (0, (8, 2)), "lw": 1.3},  # in a sweep of fees
    "expert": {"color": GREY, "ls": (0, (6, 2)), "lw": 1.3},
    "medium": {"color": GREY, "ls": (0, (3, 2)), "lw": 1.0},
    "rule": {"color": "0.65", "ls": (0, (6, 1, 1, 1)), "lw": 1.0},
    "buy-and-hold": {"color": GREY, "ls": (0, (1, 1)), "lw": 1.3},
    "flat": {"color": "0.65", "ls": "-", "lw": 0.9},
    "random": {"color": GREY, "ls": (0, (5, 1, 1, 1, 1, 1)), "lw": 1.0},
    "oracle": {"color": "0.65", "ls": (0, (1, 3)), "lw": 1.3},
}

Case = tuple[str, str, int]
Rows = dict[str, dict[str, Any]]


def plain(text: str) -> str:
    """A name as Matplotlib writes it out: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def plain_rows(result: dict[str, Any]) -> dict[Case, Rows]:
    """Dataset (task, kind, size) to its methods' rows; without ablations."""
    found: dict[Case, Rows] = {}
    for row in result["rows"].values():
        if row["norm_obs"] and not row["variant"]:
            case = (row["task"], row["kind"], row["size"])
            found.setdefault(case, {})[row["method"]] = row
    return found


def title_of(case: Case) -> str:
    """A dataset's name: "reversion-easy-levels, medium 100k"."""
    return f"{case[0]}, {case[1]} {size_name(case[2])}"


def group_of(case: Case, method: str) -> str:
    """The name of a row of a method's own, as results have it."""
    return f"{case[0]}/{case[1]}-{size_name(case[2])}/{method}"


def methods_of(result: dict[str, Any]) -> list[str]:
    """All methods: each has the same colour in every picture."""
    return sorted({row["method"] for row in result["rows"].values()})


def style_of(method: str, methods: Sequence[str]) -> dict[str, Any]:
    """A method's colour, dashes and marker."""
    number = methods.index(method)
    return {
        "color": PALETTE[number % len(PALETTE)],
        "ls": DASHES[number // len(PALETTE) % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def make_grid(count: int, high: float = HIGH) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, three a line."""
    columns = 2 if count == 4 else min(COLUMNS, count)
    lines = -(-count // columns)
    figure = Figure(figsize=(max(WIDE * columns, 6.0), high * lines + 0.7), layout="constrained")
    every = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axes in every[count:]:
        axes.set_visible(False)
    return figure, every[:count]


def tidy(axes: Axes, title: str) -> None:
    """Title, faint grid, no box."""
    axes.set_title(plain(title), fontsize=9.5)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def put_legend(figure: Figure, shown: dict[str, Any], said: str) -> None:
    """Below all panels, where it covers no data; methods first, then controls."""
    order = list(CONTROLS)
    names = sorted(shown, key=lambda name: (name in order and order.index(name) + 1, name))
    figure.legend(
        [shown[name] for name in names], [plain(name) for name in names], frameon=False,
        loc="outside lower center", fontsize=8.5, title=plain(said), title_fontsize=8.5,
        ncols=max(1, min(len(names), int(figure.get_figwidth() / ENTRY))),
    )  # fmt: skip


def limits(values: Iterable[float], room: float = 0.06) -> tuple[float, float]:
    """An axis that shows all values, with some room; around 0 where there are none."""
    found = np.array([value for value in values if np.isfinite(value)])
    if not len(found):
        return -1.0, 1.0
    low, high = float(found.min()), float(found.max())
    more = room * (high - low) or max(abs(high) * room, 1e-3)
    return low - more, high + more
