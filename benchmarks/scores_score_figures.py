"""Pictures of scores: their intervals, and performance profiles.

What each shows is first collected as plain numbers (``..._data``) and then drawn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison import performance_profile
from benchmarks.scores_panels import (
    CONTROLS,
    GREY,
    Case,
    Rows,
    limits,
    make_grid,
    methods_of,
    plain,
    plain_rows,
    put_legend,
    style_of,
    tidy,
    title_of,
)
from benchmarks.scores_text import BASIS_POINTS
from benchmarks.suite_config import size_name

THRESHOLDS = 101
FARTHEST = -50.0  # a profile shows no lower scores: 0 is the random policy
SCORE, GROWTH = "score", "growth, bp a decision"

# --- intervals --------------------------------------------------------------------------------


def intervals_data(result: dict[str, Any]) -> dict[str, Any]:
    """Panels of estimates with intervals, methods from the best to the worst.

    A task that has scores shows them: the interquartile mean over seeds. One that has none (on a
    fair game nothing is to be learned) shows growth, with its interval over seeds and time.
    """
    panels = [_panel(result, case, rows) for case, rows in plain_rows(result).items()]
    return {"methods": methods_of(result), "panels": panels}


def _over_all(found: dict[str, Any]) -> dict[str, Any]:
    """The panel of interquartile means over seeds and datasets."""
    entries = [
        {"method": method, "interval": values, "seeds": []}
        for method, values in found["interquartile_mean"].items()
    ]
    return {"title": "interquartile mean", "unit": SCORE, "entries": _sorted(entries), "marks": {}}


def _panel(result: dict[str, Any], case: Case, rows: Rows) -> dict[str, Any]:
    about = result["tasks"][case[0]]
    scored = about["top"] is not None
    key, factor = ("score", 1.0) if scored else ("growth", BASIS_POINTS)
    entries = []
    for method, row in rows.items():
        interval = row["best"]["interval"] if scored else row["growth_interval"]
        seeds = [factor * value for value in row["best"][key]]
        if interval is None:
            interval = [float(np.mean(row["best"][key])), None, None]
        given = [None if value is None else factor * value for value in interval]
        entries.append({"method": method, "interval": given, "seeds": seeds})
    marks = ("random", about["top"], case[1]) if scored else ("flat", "buy-and-hold")
    return {
        "title": title_of(case),
        "unit": SCORE if scored else GROWTH,
        "entries": _sorted(entries),
        "marks": {
            name: factor * about["controls"][name][key]
            for name in CONTROLS
            if name in marks and name in about["controls"]
        },
    }


def _sorted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: (-_middle(entry), entry["method"]))


def _middle(entry: dict[str, Any]) -> float:
    middle = entry["interval"][0]
    return -np.inf if middle is None else float(middle)


def intervals_figure(data: dict[str, Any]) -> Figure:
    """Draw `intervals_data`: a line a method, a dot with its interval, faint dots for seeds."""
    most = max((len(panel["entries"]) for panel in data["panels"]), default=1)
    figure, grid = make_grid(len(data["panels"]), high=0.26 * most + 1.0)
    shown: dict[str, Any] = {}
    for axes, panel in zip(grid, data["panels"], strict=True):
        _draw_panel(axes, panel, data["methods"])
        for name, value in panel["marks"].items():
            shown[name] = axes.axvline(value, zorder=1, **CONTROLS[name])
    put_legend(figure, shown, "Dot and bar: estimate with its 95% interval; small: each seed.")
    return figure


def _draw_panel(axes: Axes, panel: dict[str, Any], methods: list[str]) -> None:
    tidy(axes, panel["title"])
    for place, entry in enumerate(panel["entries"]):
        _draw_interval(axes, place, entry, methods)
    names = [plain(entry["method"]) for entry in panel["entries"]]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(*limits(_values(panel)))
    axes.set_xlabel(panel["unit"], fontsize=8.5)


def _values(panel: dict[str, Any]) -> list[float]:
    """All that a panel must have room for."""
    found = list(panel["marks"].values())
    for entry in panel["entries"]:
        found += [value for value in entry["interval"] if value is not None] + entry["seeds"]
    return found


def _draw_interval(axes: Axes, place: int, entry: dict[str, Any], methods: list[str]) -> None:
    style = style_of(entry["method"], methods)
    axes.plot(
        entry["seeds"], [place + 0.22] * len(entry["seeds"]), ".", ms=4, color=style["color"],
        alpha=0.5,
    )  # fmt: skip
    middle, low, high = entry["interval"]
    if low is not None:
        axes.plot([low, high], [place] * 2, "-", color=style["color"], lw=2.2)
    if middle is not None:
        axes.plot([middle], [place], style["marker"], ms=6, color=style["color"])


# --- performance profiles ---------------------------------------------------------------------


def profiles_data(result: dict[str, Any]) -> dict[str, Any] | None:
    """Means over the datasets of the table of methods, and the fraction of runs above each score.

    None where no method was run on every dataset.
    """
    found = result["methods"]
    if not found:
        return None
    rows = plain_rows(result)
    tables = {
        method: np.array([rows[(t, k, n)][method]["best"]["score"] for t, k, n in found["cases"]]).T
        for method in found["interquartile_mean"]
    }
    every = np.concatenate([table.ravel() for table in tables.values()])
    thresholds = np.linspace(max(min(every.min(), 0.0), FARTHEST), max(every.max(), 100.0),
                             THRESHOLDS)  # fmt: skip
    lines = {}
    for method, table in tables.items():
        profile = performance_profile(table, thresholds)
        lines[method] = {
            name: [round(float(x), 4) if np.isfinite(x) else None for x in getattr(profile, name)]
            for name in ("estimate", "low", "high")
        }
    return {
        "methods": methods_of(result),
        "over_all": _over_all(found),
        "thresholds": [round(float(value), 4) for value in thresholds],
        "lines": lines,
        "runs": len(next(iter(tables.values()))),
        "cases": [f"{task}, {kind} {size_name(size)}" for task, kind, size in found["cases"]],
    }


def profiles_figure(data: dict[str, Any]) -> Figure:
    """Draw `profiles_data`: the means beside the profiles."""
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, axes = figure.subplots(1, 2, width_ratios=[1, 1.5])
    _draw_panel(left, data["over_all"], data["methods"])
    tidy(axes, f"performance profiles, {data['runs']} seeds on {len(data['cases'])} dataset(s)")
    shown: dict[str, Any] = {}
    for method, line in data["lines"].items():
        style = style_of(method, data["methods"])
        if line["low"][0] is not None:
            axes.fill_between(
                data["thresholds"], line["low"], line["high"], color=style["color"], alpha=0.12,
                lw=0,
            )  # fmt: skip
        (shown[method],) = axes.plot(
            data["thresholds"], line["estimate"], ms=4, lw=1.6, markevery=10, **style
        )
    for score in (0.0, 100.0):
        axes.axvline(score, color=GREY, lw=0.8, zorder=1)
    axes.set_xlabel("score (0: random policy, 100: optimum or expert)", fontsize=8.5)
    axes.set_ylabel("fraction of runs above", fontsize=8.5)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(data["thresholds"][0], data["thresholds"][-1])
    put_legend(figure, shown, "Bar: 95% interval; shaded: pointwise 95% interval.")
    return figure
