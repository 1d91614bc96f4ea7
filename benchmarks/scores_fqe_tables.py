"""The tables of fitted Q evaluation, from ``result["fqe"]`` of `scores_fqe`."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table
from benchmarks.scores_config import task_title
from benchmarks.scores_text import BASIS_POINTS

POINTS = {
    "methods": "methods, mean over seeds",
    "methods and online": "the same and the data's own policies",
    "policies": "every policy",
}


def fqe_tables(found: dict[str, Any]) -> dict[str, str]:
    """Title to Markdown, one for each dataset that evaluates.

    Args:
        found: What `scores_fqe.fqe` returned.
    """
    return {
        f"Fitted Q evaluation: {name}": dataset_table(name, made, found["settings"])
        for name, made in found["datasets"].items()
    }


def dataset_table(name: str, made: dict[str, Any], settings: dict[str, Any]) -> str:
    """Estimates beside truths, how they correlate, and what that says."""
    ordered = sorted(made["rows"], key=lambda row: -_mean(row["discounted"]))
    rows = [
        [
            f"*{row['label']}*" if row["role"] == "online" else row["label"],
            str(len(row["seeds"])),
            *(_ranged(row[key]) for key in ("estimate", "discounted", "growth")),
        ]
        for row in ordered
    ]
    header = ["policy", "seeds", "estimate", "walked value", "test growth"]
    parts = [table(header, rows), correlation_table(made["correlations"])]
    return "\n\n".join([*parts, legend(name, made, settings)])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _ranged(values: list[float]) -> str:
    """Mean (smallest to largest), in basis points."""
    digits = 1 if max(abs(value) for value in values) * BASIS_POINTS >= 10.0 else 2
    texts = [f"{BASIS_POINTS * x:.{digits}f}" for x in (_mean(values), min(values), max(values))]
    return texts[0] if len(values) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def correlation_table(correlations: list[dict[str, Any]]) -> str:
    """A row for each set of points."""
    names = ("discounted", "growth", "ceiling")
    rows = [
        [POINTS[row["points"]], _count(row), *(_related(row[name]) for name in names)]
        for row in correlations
    ]
    header = ["points", "how many", "estimate and walked value", "estimate and test growth",
              "walked value and test growth"]  # fmt: skip
    return table(header, rows)


def _count(row: dict[str, Any]) -> str:
    count, clusters = row["count"], row["clusters"]
    return str(count) if count == clusters else f"{count} in {clusters} groups"


def _related(found: dict[str, Any]) -> str:
    """A correlation with its interval and how likely it is by chance."""
    middle, low, high = found["interval"]
    if middle is None:
        return "-"
    said = f"{middle:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")
    return said if found["chance"] is None else f"{said}, p = {found['chance']:.2g}"


def legend(name: str, made: dict[str, Any], settings: dict[str, Any]) -> str:
    """How the numbers were made, what is left out, and what the correlation says."""
    errors = {part: BASIS_POINTS * error for part, error in made["errors"].items()}
    fits = [error for row in made["rows"] for error in row["fit_error"] if error is not None]
    said = [
        f"{task_title(name.split('/')[0])}, data {name}. In basis points; mean (smallest to "
        f"largest) over seeds. Estimate: fitted Q evaluation, discount {settings['gamma']:g} for "
        f"every policy, {settings['fits']} fits of {settings['updates']:,} steps of "
        f"{settings['batch_size']} transitions, mean of Q over the first states of "
        f"{made['starts']} episodes: standard error up to {errors['estimate']:.1f} over these "
        f"states, which all policies share, and up to {BASIS_POINTS * max(fits, default=0.0):.1f} "
        "over fits.",
        f"Walked value: what it estimates, the discounted return of {made['walks']:,} walks of "
        f"{made['steps']} decisions from random starts of the same period (standard error up to "
        f"{errors['discounted']:.1f}, the starts being the same for every policy). Test growth is "
        "another quantity: log return a decision, undiscounted, in a later period.",
        _calibration(made["calibration"]),
        "Policies of methods have learned from the very data that judge them: where both take "
        "its noise for signal, an estimate is too high.",
        "Correlations are Spearman's, with 95% bootstrap intervals (none below five points) and "
        "the one-sided probability of so high a value if the order were random. The last column "
        "is what an estimate without error would reach.",
        "Seeds of one method resemble each other: where every policy is a point, the interval "
        "draws methods as a whole, and is too short with so few.",
        _verdict(made["correlations"]),
    ]
    # results of before have none
    if made.get("missing"):
        names = ", ".join(job.removeprefix(f"{name}/") for job in made["missing"])
        said.append(f"Failed, and missing here: {names}.")
    said += [f"{method} is left out: {_reason(why)}" for method, why in made["left_out"].items()]
    return " ".join(sentence for sentence in said if sentence)


def _calibration(found: dict[str, float]) -> str:
    mean, largest = (BASIS_POINTS * found[key] for key in ("mean", "largest"))
    return (
        f"Estimates are {abs(mean):.1f} too {'high' if mean > 0 else 'low'} in the mean; the "
        f"farthest is {abs(largest):.1f} too {'high' if largest > 0 else 'low'}."
    )


def _verdict(correlations: list[dict[str, Any]]) -> str:
    """What the correlation of methods with test growth says, and no more."""
    row = next((row for row in correlations if row["points"] == "methods"), None)
    if row is None or row["growth"]["chance"] is None:
        return ""
    if row["growth"]["chance"] <= 0.05:
        return (
            f"On this dataset the order of {row['count']} methods by estimate agrees with that by "
            "test growth more than chance would."
        )
    return (
        f"{row['count']} methods do not show that the order by estimate agrees with that by test "
        "growth."
    )


def _reason(why: str) -> str:
    """An error's sentence as the end of one."""
    return why if why.endswith(".") else why + "."
