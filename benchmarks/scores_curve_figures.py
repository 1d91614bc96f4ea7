"""Pictures of curves: validation returns over epochs, equity with drawdown, growth over fees.

What each shows is first collected as plain numbers (``..._data``) and then drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from benchmarks.scores_curves import places
from benchmarks.scores_panels import (
    COLUMNS,
    CONTROLS,
    WIDE,
    Case,
    group_of,
    limits,
    make_grid,
    methods_of,
    plain_rows,
    put_legend,
    style_of,
    tidy,
    title_of,
)
from benchmarks.scores_text import BASIS_POINTS

MEAN = "Mean over seeds; shaded: from the smallest to the largest seed."
OFF_SCALE = ("random", "oracle")  # they decide no axis: fees ruin the one, the other knows prices
LOGARITHMIC = 10.0  # from this ratio of an axis' ends on
LOOKS = 12  # markers a line


def cases_of(result: dict[str, Any], task: str | None = None) -> list[Case]:
    """The datasets of a task, or of all."""
    return [case for case in plain_rows(result) if task is None or case[0] == task]


def one_case_each(result: dict[str, Any], kind: str = "medium") -> list[Case]:
    """One dataset of each task: the largest of a kind or, where there is none, of any."""
    made = []
    for task in result["tasks"]:
        found = cases_of(result, task)
        chosen = [case for case in found if case[1] == kind] or found
        made += sorted(chosen, key=lambda case: case[2])[-1:]
    return made


# --- learning curves --------------------------------------------------------------------------


def learning_data(result: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any]:
    """Mean, smallest and largest validation return of a method's seeds after each epoch."""
    rows = plain_rows(result)
    panels = []
    for case in cases:
        lines = {}
        for method, row in rows[case].items():
            shortest = min(len(values) for values in row["validation_returns"])
            curves = np.array([values[:shortest] for values in row["validation_returns"]])
            lines[method] = _band(curves)
        panels.append({"title": title_of(case), "lines": lines})
    return {"methods": methods_of(result), "panels": panels}


def _band(values: Any) -> dict[str, list[float]]:
    """Over seeds, the first axis."""
    made = {"mean": values.mean(axis=0), "low": values.min(axis=0), "high": values.max(axis=0)}
    return {name: [float(value) for value in line] for name, line in made.items()}


def learning_figure(data: dict[str, Any]) -> Figure:
    """Draw `learning_data`: a panel a dataset, a line a method.

    The untrained policy (epoch 0) decides no axis: it may trade without end.
    """
    figure, grid = make_grid(len(data["panels"]))
    shown: dict[str, Any] = {}
    for axes, panel in zip(grid, data["panels"], strict=True):
        tidy(axes, panel["title"])
        for method, line in panel["lines"].items():
            epochs = np.arange(len(line["mean"]))
            shown[method] = _draw_band(axes, epochs, line, style_of(method, data["methods"]))
        trained = [value for line in panel["lines"].values() for value in line["mean"][1:]]
        axes.set_ylim(*limits(trained, room=0.15))
        axes.set_xlabel("epoch", fontsize=8.5)
        axes.set_ylabel("validation return", fontsize=8.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
    put_legend(figure, shown, MEAN)
    return figure


def _draw_band(axes: Axes, x: Any, line: dict[str, list[float]], style: dict[str, Any]) -> Any:
    axes.fill_between(x, line["low"], line["high"], color=style["color"], alpha=0.12, lw=0)
    every = max(len(x) // LOOKS, 1)
    return axes.plot(x, line["mean"], ms=4, lw=1.5, markevery=every, **style)[0]


# --- equity -----------------------------------------------------------------------------------


def equity_data(result: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any] | None:
    """Equity and drawdown over the test period: methods' median seeds, and the controls.

    None where the result has no curves, or none of these datasets.
    """
    found = result.get("curves", {"rows": {}})["rows"]
    panels = []
    for case in cases:
        lines = {method: found.get(group_of(case, method)) for method in plain_rows(result)[case]}
        drawn = {method: curve for method, curve in lines.items() if curve is not None}
        if drawn:
            controls = result["curves"]["controls"][case[0]]
            panels.append({
                "title": title_of(case),
                "test": result["tasks"][case[0]]["test"],
                "lines": drawn,
                "controls": {name: controls[name] for name in CONTROLS if name in controls},
            })  # fmt: skip
    return {"methods": methods_of(result), "panels": panels} if panels else None


def equity_figure(data: dict[str, Any]) -> Figure:
    """Draw `equity_data`: equity over its first value, the drawdown below."""
    count = len(data["panels"])
    columns = 2 if count == 4 else min(COLUMNS, max(count, 1))
    lines = -(-count // columns)
    figure = Figure(figsize=(max(WIDE * columns, 6.0), 3.9 * lines + 0.8), layout="constrained")
    grid = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[3, 1.2] * lines)
    shown: dict[str, Any] = {}
    for number in range(lines * columns):
        above, below = grid[2 * (number // columns) :, number % columns][:2]
        if number < count:
            _draw_equity(above, below, data["panels"][number], data["methods"], shown)
        else:
            above.set_visible(False)
            below.set_visible(False)
    said = "Methods: the seed of median growth. Random and oracle may leave the panel."
    put_legend(figure, shown, said)
    return figure


def _draw_equity(
    above: Axes, below: Axes, panel: dict[str, Any], methods: list[str], shown: dict[str, Any]
) -> None:
    tidy(above, panel["title"])
    tidy(below, "")
    above.sharex(below)
    above.tick_params(labelbottom=False)
    drawn = [(name, curve, CONTROLS[name]) for name, curve in panel["controls"].items()]
    for method, curve in panel["lines"].items():
        style = {key: value for key, value in style_of(method, methods).items() if key != "marker"}
        drawn.append((method, curve, {**style, "lw": 1.2}))
    kept_logs, kept_falls = [0.0], [0.0]
    for name, curve, style in drawn:
        x = places(curve["steps"], len(curve["log_equity"]))
        falls = [-value for value in curve["drawdown"]]
        (shown[name],) = above.plot(x, np.exp(curve["log_equity"]), **style)
        below.plot(x, falls, **style)
        if name not in OFF_SCALE:
            kept_logs += curve["log_equity"]
            kept_falls += falls
    _scale(above, kept_logs)
    below.set_ylim(1.08 * min(kept_falls) - 1e-3, 0.0)
    below.yaxis.set_major_locator(MaxNLocator(4))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100.0 * value:.3g}%"))
    below.xaxis.set_major_locator(MaxNLocator(5))
    below.xaxis.set_major_formatter(EngFormatter(sep=""))
    above.set_ylabel("equity / first", fontsize=8.5)
    below.set_ylabel("drawdown", fontsize=8.5)
    test = panel["test"]
    below.set_xlabel(f"decision, {test['start'][:10]} to {test['end'][:10]}", fontsize=8.5)


def _scale(axes: Axes, logs: list[float]) -> None:
    """Room for all logarithms of equity; a logarithmic axis where they are far apart."""
    low, high = limits(logs)
    if high - low > np.log(LOGARITHMIC):
        axes.set_yscale("log")
        subs = (1.0,) if high - low > 2.5 * np.log(10.0) else (1.0, 2.0, 5.0)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _multiple(value)))
    axes.set_ylim(float(np.exp(low)), float(np.exp(high)))


def _multiple(value: float) -> str:
    """Of the first equity: "0.5", "1,000"."""
    return f"{value:,.0f}" if value >= 10.0 else f"{value:.4g}"


# --- costs ------------------------------------------------------------------------------------


def costs_data(result: dict[str, Any], cases: Sequence[Case]) -> dict[str, Any] | None:
    """Growth over fees, bp a decision: methods over seeds, and controls.

    None where the result has no sweep of fees, or none on these datasets.
    """
    costs = result.get("costs")
    if not costs:
        return None
    panels = []
    for case in cases:
        lines = {}
        for method in plain_rows(result)[case]:
            swept = costs["rows"].get(group_of(case, method))
            if swept is not None:  # (fees, seeds)
                lines[method] = _band(BASIS_POINTS * np.array(swept["growth"]).T)
        if lines:
            controls = {
                name: [BASIS_POINTS * value for value in values]
                for name, values in costs["controls"].get(case[0], {}).items()
                if name in CONTROLS
            }
            panels.append({"title": title_of(case), "lines": lines, "controls": controls})
    if not panels:
        return None
    return {"methods": methods_of(result), "fees": costs["fees_bp"], "panels": panels}


def costs_figure(data: dict[str, Any]) -> Figure:
    """Draw `costs_data`; random and oracle decide no axis."""
    figure, grid = make_grid(len(data["panels"]))
    shown: dict[str, Any] = {}
    for axes, panel in zip(grid, data["panels"], strict=True):
        tidy(axes, panel["title"])
        kept = [0.0]
        for name, values in panel["controls"].items():
            (shown[name],) = axes.plot(data["fees"], values, **CONTROLS[name])
            kept += [] if name in OFF_SCALE else values
        for method, line in panel["lines"].items():
            style = style_of(method, data["methods"])
            shown[method] = _draw_band(axes, data["fees"], line, style)
            kept += line["mean"]
        axes.axhline(0.0, color="0.65", lw=0.9, zorder=1)
        axes.set_ylim(*limits(kept))
        axes.set_xticks(data["fees"])
        axes.set_xlabel("fee a fill, bp", fontsize=8.5)
        axes.set_ylabel("growth, bp a decision", fontsize=8.5)
    put_legend(figure, shown, MEAN)
    return figure
