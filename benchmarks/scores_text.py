"""How numbers of results/scores-*.json are written."""

from __future__ import annotations

NONE = "-"
BASIS_POINTS = 1e4


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
