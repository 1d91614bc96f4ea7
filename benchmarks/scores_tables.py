"""The tables of results/scores-*.json."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import provenance, table
from benchmarks.scores_checks import FAIR
from benchmarks.scores_config import task_title
from benchmarks.scores_fqe_tables import fqe_tables
from benchmarks.scores_summaries import (
    ablation_table,
    checks_table,
    matrix_table,
    selection_table,
    sizes_table,
)
from benchmarks.scores_sweeps_tables import costs_tables, targets_tables
from benchmarks.scores_text import (
    BASIS_POINTS,
    CONTROLS,
    NONE,
    bankrupt,
    estimate,
    mean,
    missing_text,
    number,
)
from benchmarks.suite_config import size_name
from benchmarks.walk_forward_tables import walk_forward_tables

# which policy of a dataset each is without its noise
NOISELESS = {"expert": "expert", "medium": "medium", "rule": "rule-based"}
ABOUT = {
    "optimum": "computed",
    "expert": "online, without noise",
    "medium": "online, without noise",
    "rule": "without noise",
    "oracle": "shown the next bar",
}
COLUMNS = ("of optimum", "last", "growth, bp", "fees, bp", "Sharpe", "max. drawdown", "turnover")


def task_table(result: dict[str, Any], task: str) -> str:
    """A task: its controls, the policies that made its data, and every method by its data."""
    about = result["tasks"][task]
    rows = []
    for name in CONTROLS:
        if name in about["controls"]:
            control = about["controls"][name]
            title = f"*{name}*" + (f", {ABOUT[name]}" if name in ABOUT else "")
            rows.append(_walk_row(title, control, control["walks"]))
    for walked in about["behaviours"].values():
        noise = f", {walked['noise']:.0%} random" if walked["noise"] else ""
        title = f"*data {walked['kind']} {size_name(walked['size'])}*, as recorded{noise}"
        rows.append(_walk_row(title, walked, 1))
    for row in result["rows"].values():
        if row["task"] == task and row["norm_obs"] and not row["variant"]:
            rows.append(_method_row(row))
    return table(["data: method", "score", *COLUMNS], rows) + "\n\n" + _legend(result, task)


def _walk_row(title: str, walked: dict[str, Any], walks: int) -> list[str]:
    """Of a policy that nothing was trained for."""
    interval = walked["interval"] or [walked["growth"], None, None]
    return [
        title + bankrupt(walked["bankrupt"], walks),
        number(walked["score"], "{:.0f}"),
        number(walked["share"], "{:.0%}"),
        NONE,
        estimate(interval, "{:+.2f}", BASIS_POINTS),
        NONE,
        f"{walked['sharpe']:.1f}",
        f"{walked['max_drawdown']:.0%}",
        f"{walked['turnover']:.0f}",
    ]


def _method_row(row: dict[str, Any]) -> list[str]:
    best, last = row["best"], row["last"]
    growth = row["growth_interval"] or [mean(best["growth"]), None, None]
    name = f"{row['kind']} {size_name(row['size'])}: {row['method']}"
    return [
        name + bankrupt(best["bankrupt"], len(row["seeds"])),
        estimate(best["interval"], "{:.0f}"),
        estimate(best["share"], "{:.0%}"),
        estimate(last["interval"], "{:.0f}"),
        estimate(growth, "{:+.2f}", BASIS_POINTS),
        f"{BASIS_POINTS * mean(row['fees']):.2f}",
        f"{mean(best['sharpe']):.1f}",
        f"{mean(best['max_drawdown']):.0%}",
        f"{mean(best['turnover']):.0f}",
    ]


def _legend(result: dict[str, Any], task: str) -> str:
    about = result["tasks"][task]
    test = about["test"]
    said = f"{test['steps']:,} decisions from {test['start'][:10]} to {test['end'][:10]}"
    known = about["optimum"]
    if known is not None:
        low, high = (BASIS_POINTS * bound for bound in known["gain_range"])
        said += f"; the optimum's expected growth is {low:.3f} to {high:.3f} bp"
    if FAIR in task:
        said += "; on a fair game nothing is an expert, and there is no score"
    pairs = [f"*{name}* is the policy of {kind} data" for name, kind in NOISELESS.items()
             if name in about["controls"]]  # fmt: skip
    said += f". Without its noise {', '.join(pairs)}" if pairs else ""
    return (
        f"{task_title(task)}: {said}. Score and share of the optimum's growth: interquartile mean "
        "over seeds; growth: mean log return a decision over seeds and time, net of fees, without "
        "an interval where an account went bankrupt, until which it then counts."
    )


def methods_table(result: dict[str, Any]) -> str:
    """Methods over all tasks and datasets that have a score."""
    found = result["methods"]
    if not found:
        scored = any(task["top"] is not None for task in result["tasks"].values())
        why = "of equally many seeds on every dataset" if scored else "here"
        return f"No method has scores {why}.{_missing(result)}"
    rows = [
        [method, estimate(values, "{:.1f}"), estimate(found["improvement"].get(method), "{:.2f}")]
        for method, values in sorted(
            found["interquartile_mean"].items(), key=lambda item: -(item[1][0] or 0.0)
        )
    ]
    header = ["method", "interquartile mean of scores", "P(better than cloning)"]
    stable = found.get("stability")
    said = ""
    if stable is not None:
        said = (
            f" The order of methods is {stable['verdict']} between seeds: mean rank correlation "
            f"{estimate(stable['agreement'], '{:.2f}')}."
        )
    seeds = max(len(row["seeds"]) for row in result["rows"].values())
    more = (
        f"{seeds} seeds on {len(found['cases'])} dataset(s); score 0 is the random policy's "
        "growth, 100 the computed optimum's (or, where there is none, the online expert's), over "
        f"the same test period; 95% intervals by stratified bootstrap.{said}{_missing(result)}"
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


def _missing(result: dict[str, Any]) -> str:
    """That a result is not whole."""
    lacking = missing_text(result)
    return f" {lacking[0].upper()}{lacking[1:]}: these are the others." if lacking else ""


def scores_tables(result: dict[str, Any]) -> dict[str, str]:
    """Title to Markdown."""
    made: dict[str, str | None] = {"Methods": methods_table(result)}
    made |= {f"Methods on {task}": matrix_table(result, task) for task in result["tasks"]}
    made["Checks"] = checks_table(result)
    made["Selection"] = selection_table(result)
    made |= {task: task_table(result, task) for task in result["tasks"]}
    made["Ablations"] = ablation_table(result)
    made["Sizes"] = sizes_table(result)
    found = {title: text for title, text in made.items() if text is not None}
    found |= costs_tables(result.get("costs"), result["tasks"])
    found |= targets_tables(result.get("targets"))
    if "fqe" in result:
        found |= fqe_tables(result["fqe"])
    if "walk_forward" in result:
        found |= walk_forward_tables(result["walk_forward"])
    return found
