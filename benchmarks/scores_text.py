"""How results/scores-*.json are written: numbers, and the order of controls."""

from __future__ import annotations

from typing import Any

NONE = "-"
BASIS_POINTS = 1e4
# in the order of tables
CONTROLS = ("optimum", "expert", "medium", "rule", "buy-and-hold", "flat", "random", "oracle")


def estimate(values: list[float | None] | None, form: str, factor: float = 1.0) -> str:
    """An estimate with its interval, "0.5 (0.3 to 0.7)"; the estimate alone without one."""
    if values is None or values[0] is None:
        return NONE
    middle, low, high = (None if x is None else form.format(factor * x) for x in values)
    return str(middle) if low is None else f"{middle} ({low} to {high})"


def number(value: float | None, form: str) -> str:
    """A number, or that there is none."""
    return NONE if value is None else form.format(value)


def mean(values: list[float]) -> float:
    """Of at least one."""
    return sum(values) / len(values)


def bankrupt(count: int, of: int) -> str:
    """That accounts went bankrupt; "" where none did."""
    if not count:
        return ""
    return ", bankrupt" if of == 1 else f", {count} of {of} bankrupt"


def missing_text(result: dict[str, Any]) -> str:
    """How many cells and jobs of later stages a result lacks; "" where it is whole."""
    jobs = result.get("missing_jobs", [])
    counts = [(len(result["missing"]), "cell"), (len(jobs), "job of later stages")]
    said = [_counted(count, *name.split(" ", 1)) for count, name in counts if count]
    one = sum(count for count, _ in counts) == 1
    return f"{' and '.join(said)} {'is' if one else 'are'} missing" if said else ""


def _counted(count: int, noun: str, more: str = "") -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}{' ' + more if more else ''}"
