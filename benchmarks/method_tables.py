"""The table of results/methods.json: what every method reaches on small tasks."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.markdown import provenance, table

# Student's t at 97.5%, for 1 to 19 degrees of freedom: the half width of a 95% interval.
T_VALUES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
)  # fmt: skip


def interval(values: list[float], form: str) -> str:
    """The mean of up to 20 seeds with its 95% interval, Student's t; "-" without values.

    Two seeds have no interval worth the name: they are both shown.
    """
    if not values:
        return "-"
    if len(values) == 2:
        return " and ".join(map(form.format, values))
    mean = statistics.fmean(values)
    if min(values) == max(values):
        return form.format(mean)
    margin = T_VALUES[len(values) - 2] * statistics.stdev(values) / len(values) ** 0.5
    return f"{form.format(mean)} ± {form.format(margin).lstrip('+')}"


def methods_table(result: dict[str, Any]) -> str:
    """The best checkpoint's test return, and the last one's, beside behaviour and expert."""
    rows, commits = [], set()
    for task, methods in result["tasks"].items():
        commits |= {run["commit"] for runs in methods.values() for run in runs}
        form = "{:+.1%}" if task.startswith("market") else "{:.0f}"
        first = next(iter(methods.values()))
        rows += _references(task, first, result["experts"], form)
        for method, runs in methods.items():
            best, last = ([run["test"][kind] for run in runs] for kind in ("best", "last"))
            rows.append([f"{task}: {method}", interval(best, form), interval(last, form)])
    header = ["task: method", "chosen on validation", "last"]
    more = (
        f"Mean and 95% interval over seeds 0 to {result['seeds'] - 1} of the return on test "
        "episodes (CartPole and Pendulum: 10 of fixed seeds; HalfCheetah: 5, seed 0 alone; "
        "markets: one pass over the period after the data); one dataset a task; "
        "networks of two layers of 64, HalfCheetah 256 (CQL 128), the flags in "
        "`benchmarks/method_cases.py`; "
        f"runs of commit {', '.join(sorted(commits))}."
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


def _references(
    task: str, runs: list[dict[str, Any]], experts: dict[str, float], form: str
) -> list[list[str]]:
    """What stands above a task's methods: expert, behaviour and random."""
    rows = []
    for name, value in experts.items():
        if task.startswith(name):
            rows.append([f"{task}: *controller without noise*", form.format(value), "-"])
    test = runs[0]["test"]
    behaviour = [value for name, value in test.items() if name.startswith("behaviour")]
    value = behaviour[0] if behaviour else runs[0]["behaviour"]
    rows.append([f"{task}: *behaviour*", form.format(value), "-"])
    rows.append([f"{task}: *random*", form.format(test["random"]), "-"])
    return rows


TABLES = {"methods": methods_table}
