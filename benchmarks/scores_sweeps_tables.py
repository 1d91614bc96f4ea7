"""The tables of the cost sweep and of the target returns; see `scores_sweeps`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.markdown import table
from benchmarks.scores_text import BASIS_POINTS, NONE

Rows = dict[str, dict[str, Any]]


def costs_tables(
    result: dict[str, Any] | None, tasks: dict[str, Any] | None = None
) -> dict[str, str]:
    """A table for each dataset: title to Markdown.

    Args:
        result: What `scores_sweeps.costs` returned; None: it was not run.
        tasks: Of `scores_result.gather`: the controls at the fee that was trained with.
    """
    return {
        f"Costs: {task}, {kind}": _costs(result, rows, (tasks or {}).get(task, {}))  # type: ignore[arg-type]
        for (task, kind), rows in _datasets(result).items()
    }


def targets_tables(result: dict[str, Any] | None) -> dict[str, str]:
    """As `costs_tables`, of what `scores_sweeps.targets` returned."""
    return {
        f"Target returns: {task}, {kind}": _targets(result["multiples"], row)  # type: ignore[index]
        for (task, kind), rows in _datasets(result).items()
        for row in rows
    }


def _datasets(result: dict[str, Any] | None) -> dict[tuple[str, str], list[dict[str, Any]]]:
    made: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in (result or {"rows": {}})["rows"].values():
        made.setdefault((row["task"], row["kind"]), []).append(row)
    return made


def _growth(values: float | Sequence[float]) -> str:
    """Of seeds, or of one walk, in basis points."""
    return f"{BASIS_POINTS * float(np.mean(values)):+.2f}"


def _bankrupt(growth: Sequence[float], bankrupt: int) -> str:
    return _growth(growth) + (f" ({bankrupt} bankrupt)" if bankrupt else "")


def _fee(found: Sequence[Any], highest: float) -> str:
    """A break-even cost in words."""
    kind, value = found
    return f"{value:.1f}" if kind == "at" else f"> {highest:g}" if kind == "above" else "none"


def _spread(found: Sequence[Sequence[Any]], highest: float) -> str:
    """Lowest and highest break-even cost of the seeds; nothing for one seed."""
    order = {"none": -1.0, "above": np.inf}
    ranked = sorted(found, key=lambda pair: order.get(pair[0], pair[1]))
    low, high = _fee(ranked[0], highest), _fee(ranked[-1], highest)
    return "" if low == high else f" ({low} to {high})"


def _costs(result: dict[str, Any], rows: list[dict[str, Any]], about: dict[str, Any]) -> str:
    fees, task = result["fees_bp"], rows[0]["task"]
    trained, highest = rows[0]["trained_bp"], max(fees)
    # the fee that was trained with has a column of its own, from the cells
    shown = sorted({*fees, trained})
    lines = []
    for name, growth in result["controls"].get(task, {}).items():
        known = about.get("controls", {}).get(name.removesuffix("-kept"))
        walked = {} if known is None else {trained: _growth(known["growth"])}
        walked |= dict(zip(fees, map(_growth, growth), strict=True))
        found = result["controls_break_even"][task][name]
        lines.append([f"*{name}*", *(walked.get(fee, NONE) for fee in shown), _fee(found, highest)])
    for row in rows:
        walked = {trained: _growth(row["trained_growth"])}
        walked |= {fee: _bankrupt(growth, bankrupt) for fee, growth, bankrupt
                   in zip(fees, row["growth"], row["bankrupt"], strict=True)}  # fmt: skip
        broken = _fee((row["break_even"], row["break_even_bp"]), highest)
        broken += _spread(row["break_even_seeds"], highest)
        lines.append([row["method"], *(walked[fee] for fee in shown), broken])
    header = [f"{fee:g} bp" + (", as trained" if fee == trained else "") for fee in shown]
    seeds = max(len(row["seeds"]) for row in rows)
    said = (
        "Growth in basis points a decision over the test period at several fees, the mean of "
        f"{seeds} seeds; nothing is trained anew, and who is "
        "bankrupt is counted up to there. Break-even: the fee, in basis points, at which "
        "the mean growth falls to 0, on straight lines between those walked (lowest to highest "
        "seed)."
    )
    return table(["policy", *header, "break-even"], lines) + "\n\n" + said + _optimum(result, task)


def _optimum(result: dict[str, Any], task: str) -> str:
    """What is known of the optimum at each fee, a sentence."""
    known = result["optimum"].get(task)
    if not known:
        return ""
    gains = ", ".join(
        f"{BASIS_POINTS * best['gain']:.2f}" + ("" if best["trades"] else " (it never trades)")
        for best in known
    )
    return (
        " *optimum* is computed anew at each fee, where it is expected to grow by "
        f"{gains}; *optimum-kept* is the one of the fee trained with."
    )


def _targets(multiples: list[float], row: dict[str, Any]) -> str:
    steps = row["episode_steps"]
    once, again = row["once"], row["again"]
    lines = [
        [f"{multiple:g}", f"{target:+.4f}", _growth(target / steps),
         _bankrupt(again["growth"][i], again["bankrupt"][i]),
         _bankrupt(once["growth"][i], once["bankrupt"][i])]
        for i, (multiple, target) in enumerate(zip(multiples, row["targets"], strict=True))
    ]  # fmt: skip
    header = ["share of the best episode", "target", "that a decision, bp",
              f"asked every {steps} decisions", "asked once"]  # fmt: skip
    said = (
        f"Growth in basis points a decision over the test period, the mean of {len(row['seeds'])} "
        "seeds. Does asking for more give more? Rank correlation of target and growth, the mean "
        f"over seeds: {_correlation(again)} when asked anew every {steps} decisions, an episode of "
        f"the data; {_correlation(once)} when asked once for the whole period."
    )
    return table(header, lines) + "\n\n" + said


def _correlation(way: dict[str, Any]) -> str:
    every = way["correlation"]
    found = [value for value in every if value is not None]
    if not found:
        return "none, growth is the same for all"
    constant = len(every) - len(found)
    left_out = f" (without {constant} of {len(every)}, whose growth is always the same)"
    return f"{float(np.mean(found)):+.2f}" + (left_out if constant else "")
