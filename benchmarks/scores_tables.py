"""The tables of results/scores-*.json."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import provenance, table
from benchmarks.scores_config import TASKS
from benchmarks.scores_sweeps_tables import costs_tables, targets_tables
from benchmarks.suite_config import size_name

NONE = "-"
BASIS_POINTS = 1e4
CONTROLS = ("optimum", "expert", "medium", "rule", "buy-and-hold", "flat", "random", "oracle")


def estimate(values: list[float | None] | None, form: str, factor: float = 1.0) -> str:
    """An estimate with its interval, "0.5 (0.3 to 0.7)"; the estimate alone without one."""
    if values is None or values[0] is None:
        return NONE
    middle, low, high = (None if x is None else form.format(factor * x) for x in values)
    return str(middle) if low is None else f"{middle} ({low} to {high})"


def task_table(result: dict[str, Any], task: str) -> str:
    """A task: its controls, then every method by the data it learned from."""
    about = result["tasks"][task]
    rows = []
    for name in CONTROLS:
        if name in about["controls"]:
            control = about["controls"][name]
            interval = control["interval"] or [control["growth"], None, None]
            rows.append([f"*{name}*", _number(control["score"], "{:.0f}"), NONE,
                         estimate(interval, "{:+.2f}", BASIS_POINTS),
                         f"{control['sharpe']:.1f}", f"{control['max_drawdown']:.0%}",
                         f"{control['turnover']:.0f}"])  # fmt: skip
    for row in result["rows"].values():
        if row["task"] == task and row["norm_obs"] and not row["variant"]:
            rows.append(_method_row(row))
    header = ["data: method", "score", "last", "growth, bp", "Sharpe", "max. drawdown", "turnover"]
    return table(header, rows) + "\n\n" + _legend(result, task)


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _method_row(row: dict[str, Any]) -> list[str]:
    best, last = row["best"], row["last"]
    growth = row["growth_interval"] or [_mean(best["growth"]), None, None]
    name = f"{row['kind']} {size_name(row['size'])}: {row['method']}"
    bankrupt = f", {best['bankrupt']} of {len(row['seeds'])} bankrupt" if best["bankrupt"] else ""
    return [
        name + bankrupt,
        estimate(best["interval"], "{:.0f}"),
        estimate(last["interval"], "{:.0f}"),
        estimate(growth, "{:+.2f}", BASIS_POINTS),
        f"{_mean(best['sharpe']):.1f}",
        f"{_mean(best['max_drawdown']):.0%}",
        f"{_mean(best['turnover']):.0f}",
    ]


def _legend(result: dict[str, Any], task: str) -> str:
    about = result["tasks"][task]
    test = about["test"]
    said = f"{test['steps']:,} decisions from {test['start'][:10]} to {test['end'][:10]}"
    known = about["optimum"]
    if known is not None:
        low, high = (BASIS_POINTS * bound for bound in known["gain_range"])
        said += f"; the optimum's expected growth is {low:.3f} to {high:.3f} bp"
    return f"{TASKS[task].sets.title}: {said}."


def methods_table(result: dict[str, Any]) -> str:
    """Methods over all tasks and datasets that have a score."""
    found = result["methods"]
    if not found:
        return "No method was run on every dataset."
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
        f"the same test period; 95% intervals by stratified bootstrap.{said}"
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


def ablation_table(result: dict[str, Any]) -> str | None:
    """Rows that differ from a method's own in one thing, beside it; None without any."""
    rows = []
    for name, row in result["rows"].items():
        plain = name.removesuffix("-raw")
        if row["variant"]:
            plain = plain.replace(f"-{row['variant']}", "")
        if plain != name and plain in result["rows"]:
            changed = row["variant"] or "observations as they are"
            beside = result["rows"][plain]["best"]["interval"]
            rows.append([f"{row['task']}, {row['kind']}: {row['method']}", changed,
                         estimate(row["best"]["interval"], "{:.0f}"),
                         estimate(beside, "{:.0f}")])  # fmt: skip
    if not rows:
        return None
    return table(["dataset: method", "changed", "score", "unchanged"], rows)


def scores_tables(result: dict[str, Any]) -> dict[str, str]:
    """Title to Markdown."""
    made: dict[str, str] = {"Methods": methods_table(result)}
    made |= {task: task_table(result, task) for task in result["tasks"]}
    ablations = ablation_table(result)
    made |= {} if ablations is None else {"Ablations": ablations}
    made |= costs_tables(result.get("costs"), result["tasks"])
    return made | targets_tables(result.get("targets"))
