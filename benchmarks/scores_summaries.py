"""Tables over the rows of results/scores-*.json: methods by data, checks, ablations, sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.aggregate import stratified_difference
from benchmarks.markdown import table
from benchmarks.scores_checks import FAIR
from benchmarks.scores_config import BY_VALUE, CANDIDATES
from benchmarks.scores_selection import BLOCKS
from benchmarks.scores_text import BASIS_POINTS, NONE, estimate, mean, number
from benchmarks.suite_config import size_name

Row = dict[str, Any]
CHANGED = {
    "cql": "with CQL's term",
    BY_VALUE[0]: f"acts by the most valued of {CANDIDATES} candidates",
}
NO_EXPERT = (
    "; no scores, since the online expert is not clearly better than no position and than random "
    "trading"
)


def _plain(result: dict[str, Any], task: str) -> list[Row]:
    """A task's rows but for ablations."""
    return [
        row
        for row in result["rows"].values()
        if row["task"] == task and row["norm_obs"] and not row["variant"]
    ]


# --- methods by data --------------------------------------------------------------------------


def matrix_table(result: dict[str, Any], task: str) -> str | None:
    """Methods beside the data that they learned from; None without any.

    Scores or, where there are none, growth. The best of each column is bold, with those whose
    interval overlaps its own.
    """
    found = _plain(result, task)
    if not found:
        return None
    sets = sorted({(row["size"], row["kind"]) for row in found}, key=lambda of: (of[0], _rank(of)))
    methods = list(dict.fromkeys(row["method"] for row in found))
    rows = {(row["method"], row["size"], row["kind"]): row for row in found}
    scored = all(row["best"]["score"] is not None for row in found)
    bold = {name for of in sets for name in _leading(rows, methods, of)} if scored else set()
    lines = [
        [method, *(_entry(rows.get((method, *of)), scored, (method, *of) in bold) for of in sets)]
        for method in methods
    ]
    lines += _beside(result["tasks"][task], sets, scored)
    header = ["method", *(f"{kind} {size_name(size)}" for size, kind in sets)]
    seeds = max(len(row["seeds"]) for row in found)
    measure = (
        "Score, 0 the random policy's growth and 100 the "
        + ("computed optimum's" if result["tasks"][task]["top"] == "optimum" else "online expert's")
        + ", interquartile mean with 95% interval over seeds; bold: the highest of a column, and "
        "those whose interval overlaps its own"
        if scored
        else "Growth a decision in bp, net of fees, with 95% interval over seeds and time"
        + ("" if FAIR in task else NO_EXPERT)
    )
    return table(header, lines) + f"\n\n{measure}. {seeds} seeds, {task}."


def _rank(of: tuple[int, str]) -> int:
    """Datasets from the worst policy's to the best's."""
    order = ("random", "rule-based", "medium", "mixed", "expert")
    return order.index(of[1]) if of[1] in order else len(order)


def _leading(
    rows: dict[tuple[str, int, str], Row], methods: list[str], of: tuple[int, str]
) -> list[tuple[str, int, str]]:
    """The best rows of a column."""
    found = {(m, *of): rows[m, *of]["best"]["interval"] for m in methods if (m, *of) in rows}
    top = max(found.values(), key=lambda interval: interval[0])
    if top[1] is None:
        return [name for name, interval in found.items() if interval[0] == top[0]]
    return [
        name
        for name, (middle, _, high) in found.items()
        if (middle if high is None else high) >= top[1]
    ]


def _entry(row: Row | None, scored: bool, bold: bool) -> str:
    if row is None:
        return NONE
    if scored:
        text = estimate(row["best"]["interval"], "{:.0f}")
    else:
        growth = row["growth_interval"] or [mean(row["best"]["growth"]), None, None]
        text = estimate(growth, "{:+.2f}", BASIS_POINTS)
    broken = row["best"]["bankrupt"]
    text = f"**{text}**" if bold else text
    return text + (f", {broken} bankrupt" if broken else "")


def _beside(about: dict[str, Any], sets: list[tuple[int, str]], scored: bool) -> list[list[str]]:
    """What stands below the methods: the data's own policies, the online expert, the optimum."""

    def shown(walked: Row | None) -> str:
        if walked is None:
            return NONE
        if scored:
            return number(walked["score"], "{:.0f}")
        return estimate(
            walked["interval"] or [walked["growth"], None, None], "{:+.2f}", BASIS_POINTS
        )

    recorded = [about["behaviours"].get(f"{kind}-{size_name(size)}") for size, kind in sets]
    lines = [["*behaviour, as recorded*", *(shown(walked) for walked in recorded)]]
    for name, title in (("expert", "online expert"), ("optimum", "computed optimum")):
        if name in about["controls"]:
            lines.append([f"*{title}*"] + [shown(about["controls"][name])] * len(sets))
    return lines


# --- checks -----------------------------------------------------------------------------------


def checks_table(result: dict[str, Any]) -> str:
    """What must hold, and whether it does."""
    rows = [
        [c["what"], c["found"], f"**{c['verdict']}**" if c["verdict"] == "FAILS" else c["verdict"]]
        for c in result["checks"]
    ]
    lines = ["| what | found | verdict |", "|---|---|---|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def selection_table(result: dict[str, Any]) -> str | None:
    """What the best of many trials is worth; None without any."""
    rows, selected = [], result["selection"]
    for task, found in selected.items():
        best = found["best"].split("/", 1)[1].replace("/", ": ")
        rows.append([
            f"{task}: {best}", str(found["trials"]), f"{found['sharpe']:.1f}",
            number(found["luck"], "{:.1f}"), number(found["deflated"], "{:.3f}"),
            str(found["rows"]), number(found["overfitting"], "{:.2f}"),
            number(found["loss"], "{:.2f}"),
        ])  # fmt: skip
    if not rows:
        return None
    header = ["best cell by test Sharpe", "trials", "Sharpe", "luck alone", "deflated Sharpe",
              "rows", "P(overfitting)", "P(loss)"]  # fmt: skip
    said = (
        "Trials: all cells of the task, every dataset, seed and variant; luck alone: the Sharpe "
        "ratio that the best of so many worthless ones is expected to have if they spread as these "
        "do, or as ratios of no skill do in so many decisions, if that is less; deflated Sharpe: "
        "the probability that the best one's true ratio is above that, if returns do not depend on "
        "those before. Rows: the mean of a row's seeds "
        f"is a strategy; the best in half of {BLOCKS} blocks of time is at or below the median of "
        "all in the other half with P(overfitting), and loses there with P(loss). A bankrupt "
        "account earns 0 after its end ("
        + ", ".join(f"{one['bankrupt']} cells of {name}" for name, one in selected.items())
        + "). Where several rows are about equally good P(overfitting) is a half or more: no harm."
    )
    return table(header, rows) + "\n\n" + said


# --- what was changed -------------------------------------------------------------------------


def _difference(first: Row, second: Row) -> str:
    """Of interquartile mean scores, with its interval."""
    one, other = (np.array(row["best"]["score"], np.float64)[:, None] for row in (first, second))
    found = stratified_difference(one, other)
    low, high = (float(b) if np.isfinite(b) else None for b in (found.low, found.high))
    return estimate([found.estimate, low, high], "{:+.0f}")


def ablation_table(result: dict[str, Any]) -> str | None:
    """Rows that differ from a method's own in one thing, beside it; None without any."""
    rows = []
    for name, row in result["rows"].items():
        plain = name.removesuffix("-raw")
        if row["variant"]:
            plain = plain.replace(f"-{row['variant']}", "")
        beside = result["rows"].get(plain)
        if plain == name or beside is None or row["best"]["score"] is None:
            continue
        changed = row["variant"] or "observations as they are"
        rows.append([
            f"{row['task']}, {row['kind']} {size_name(row['size'])}: {row['method']}",
            CHANGED.get(changed, changed),
            estimate(row["best"]["interval"], "{:.0f}"),
            estimate(beside["best"]["interval"], "{:.0f}"),
            _difference(row, beside),
        ])  # fmt: skip
    if not rows:
        return None
    said = "Scores; the difference is changed less unchanged, seeds drawn independently."
    return table(["dataset: method", "changed", "score", "unchanged", "difference"], rows) + (
        "\n\n" + said
    )


def sizes_table(result: dict[str, Any]) -> str | None:
    """Rows that were run on more than one size of a dataset; None without any."""
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in result["rows"].values():
        if row["norm_obs"] and not row["variant"] and row["best"]["score"] is not None:
            groups.setdefault((row["task"], row["kind"], row["method"]), {})[row["size"]] = row
    several = {name: found for name, found in groups.items() if len(found) > 1}
    if not several:
        return None
    sizes = sorted({size for found in several.values() for size in found})
    lines = []
    for (task, kind, method), found in several.items():
        least, most = min(found), max(found)
        lines.append([
            f"{task}, {kind}: {method}",
            *(estimate(found[s]["best"]["interval"], "{:.0f}") if s in found else NONE
              for s in sizes),
            _difference(found[most], found[least]),
        ])  # fmt: skip
    header = ["dataset: method", *map(size_name, sizes), "most less fewest"]
    return table(header, lines) + "\n\nScores by transitions of the dataset."
