"""The tables of walk-forward evaluation."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import table
from benchmarks.scores_text import BASIS_POINTS, CONTROLS, NONE, estimate

_JUDGED = ("validation", "test")
NOTE = (
    "Out of sample: each fold is learned from what lies before its validation and test periods, "
    "its checkpoint is chosen on validation, and it begins flat with the equity that the fold "
    "before ended with; final equity is that of 1 at first. Growth is the mean log return a "
    "decision, up to a bankruptcy, after which a fold's account does nothing. Intervals (95%) are "
    "over seeds and blocks of time; turnover (traded notional over mean equity) is the sum over "
    "folds."
)


def folds_table(result: dict[str, Any]) -> str:
    """Where the folds lie."""
    rows = []
    for place, fold in enumerate(result["folds"]):
        seen = {method["rows"][place] for method in result.get("methods", {}).values()}
        periods = (fold["train"], *((fold[p]["start"], fold[p]["end"]) for p in _JUDGED))
        rows.append(
            [str(fold["number"]), *(f"{a[:16]} to {b[:16]}" for a, b in periods),
             ", ".join(f"{n:,}" for n in sorted(seen)) or NONE, f"{fold['test']['steps']:,}"]
        )  # fmt: skip
    return table(["fold", "train", "validation", "test", "rows", "test decisions"], rows)


def accounts_table(result: dict[str, Any]) -> str:
    """Controls and methods as one account through all folds."""
    scored = "score" in result["controls"]["random"]
    rows = [
        [_named(f"*{name}*", result["controls"][name]),
         *_account(result["controls"][name], None, scored)]
        for name in CONTROLS
        if name in result["controls"]
    ]  # fmt: skip
    for method, row in result["methods"].items():
        name = _named(method, row["best"])
        rows.append([name, *_account(row["best"], row["last"], scored)])
    header = ["policy", *(["score"] if scored else []), "growth, bp", "last, bp", "above holding",
              "final equity", "Sharpe", "max. drawdown", "turnover"]  # fmt: skip
    return table(header, rows) + "\n\n" + NOTE + _score_note(scored)


def _named(name: str, row: dict[str, Any]) -> str:
    return name + (f", bankrupt in {row['bankrupt']} of {row['tests']}" if row["bankrupt"] else "")


def _score_note(scored: bool) -> str:
    return " Score 0 is the random policy's growth, 100 the computed optimum's." if scored else ""


def _account(row: dict[str, Any], last: dict[str, Any] | None, scored: bool) -> list[str]:
    return [
        *([f"{row['score']:.0f}"] if scored else []),
        estimate(_interval(row), "{:+.2f}", BASIS_POINTS),
        NONE if last is None else estimate(_interval(last), "{:+.2f}", BASIS_POINTS),
        estimate(row["above_hold"], "{:+.2f}", BASIS_POINTS),
        f"{1.0 + row['total_return']:.3g}",
        f"{row['sharpe']:.1f}",
        f"{row['max_drawdown']:.0%}",
        f"{row['turnover']:.0f}",
    ]


def _interval(row: dict[str, Any]) -> list[float | None]:
    return row["growth_interval"] or [_mean(row["growth"]), None, None]


def growth_table(result: dict[str, Any]) -> str:
    """Growth fold by fold, the mean over seeds (and its range), in basis points a decision."""
    rows = [
        [f"*{name}*", *(_spread(growths) for growths in result["controls"][name]["folds"])]
        for name in CONTROLS
        if name in result["controls"]
    ]
    rows += [
        [method, *(_spread(growths) for growths in row["best"]["folds"])]
        for method, row in result["methods"].items()
    ]
    header = ["growth, bp", *(f"fold {fold['number']}" for fold in result["folds"])]
    return table(header, rows)


def _spread(values: list[float]) -> str:
    low, high = (BASIS_POINTS * each for each in (min(values), max(values)))
    middle = f"{BASIS_POINTS * _mean(values):+.2f}"
    return middle if len(values) == 1 else f"{middle} ({low:+.2f} to {high:+.2f})"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def walk_forward_tables(result: dict[str, Any]) -> dict[str, str]:
    """Title to Markdown; a stage of the scores benchmark says its task and kind of data."""
    where = f" ({result['task']}, {result['kind']} data)" if "task" in result else ""
    return {
        f"Walk-forward{where}": accounts_table(result),
        f"Growth by fold, smallest to largest seed{where}": growth_table(result),
        f"Folds{where}": folds_table(result),
    }
