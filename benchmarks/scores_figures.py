"""The pictures of results/scores-*.json: for the README, and for the report as one HTML file.

A picture is drawn from the result alone: no folder of cells is needed to draw or check it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from benchmarks import scores_curve_figures as curves
from benchmarks import scores_score_figures as scores
from benchmarks.plots import svg_text
from benchmarks.scores_panels import Case, plain_rows

Result = dict[str, Any]
PATH = re.compile(r'(?<= d=")[^"]*')
NUMBER = re.compile(r"-?\d+\.\d{2,}")


def _shorter(path: re.Match[str]) -> str:
    """A path whose coordinates have a digit after the point: of a point, 1/72 inch."""
    return NUMBER.sub(lambda number: f"{float(number[0]):.1f}", path[0])


class Picture(NamedTuple):
    """A picture.

    Attributes:
        title: Its heading.
        caption: What it shows, for the reader; panels and numbers not repeated.
        description: The same in words, for who does not see it.
        data: What is drawn, as JSON.
        draw: Makes the figure of the data.
    """

    title: str
    caption: str
    description: str
    data: dict[str, Any]
    draw: Callable[[dict[str, Any]], Figure]

    def svg(self) -> str:
        """As text."""
        return PATH.sub(_shorter, svg_text(lambda: self.draw(self.data), self.data))


def pictures(result: Result) -> dict[str, Picture]:
    """All that the result has numbers for; name, fit for an identifier, to picture."""
    made = {"intervals": intervals(result), "profiles": profiles(result)}
    for number, task in enumerate(result["tasks"]):
        if curves.cases_of(result, task):
            made[f"equity-{number}"] = equity(result, task)
            made[f"costs-{number}"] = costs(result, task)
            made[f"learning-{number}"] = learning(result, task)
    return {name: picture for name, picture in made.items() if picture is not None}


def _panels(data: dict[str, Any]) -> str:
    return f"Panels: {'; '.join(panel['title'] for panel in data['panels'])}."


def intervals(result: Result) -> Picture | None:
    """Every method's estimate and interval."""
    data = scores.intervals_data(result)
    if not data["panels"]:
        return None
    caption = (
        "Methods from the best to the worst, a panel a dataset: the checkpoint that was best on "
        "validation, on the test period. A score of 0 is the random policy's growth and 100 the "
        "optimum's or, where none is known, the online expert's. Where a task has no score, growth "
        "is shown: on a fair game every interval should reach zero or lie below."
    )
    return Picture("Scores with their intervals", caption, _in_words(data), data,
                   scores.intervals_figure)  # fmt: skip


def _in_words(data: dict[str, Any]) -> str:
    """The estimates of every panel, best first."""
    said = []
    for panel in data["panels"]:
        values = ", ".join(_estimate(entry) for entry in panel["entries"])
        said.append(f"{panel['title']} ({panel['unit']}): {values}.")
    return " ".join(said)


def _estimate(entry: dict[str, Any]) -> str:
    value = entry["interval"][0]
    return f"{entry['method']} {'unknown' if value is None else format(value, '.3g')}"


def profiles(result: Result) -> Picture | None:
    """Performance profiles."""
    data = scores.profiles_data(result)
    if data is None:
        return None
    caption = (
        "Left, each method's interquartile mean over seeds and datasets. Right, the fraction of "
        "those runs whose score is above the one below: a line that is higher everywhere "
        "belongs to the better method. Datasets: "
        f"{'; '.join(data['cases'])}."
    )
    words = _in_words({"panels": [data["over_all"]]})
    return Picture("Methods over all datasets", caption, f"{words} {caption}", data,
                   scores.profiles_figure)  # fmt: skip


def _cases(result: Result, task: str | None) -> list[Case]:
    return curves.one_case_each(result) if task is None else curves.cases_of(result, task)


def _titled(title: str, task: str | None) -> str:
    return title if task is None else f"{title}: {task}"


def equity(result: Result, task: str | None = None) -> Picture | None:
    """Equity with drawdown: a task's datasets, or one dataset of each task."""
    data = curves.equity_data(result, _cases(result, task))
    if data is None:
        return None
    caption = (
        "Equity over the test period, fees paid, over its first value; below, how far it is under "
        "its highest so far. In colour the methods, each by its seed of median growth; grey the "
        "controls. The random policy and the oracle, which sees the next bar, may leave the panel."
    )
    return Picture(
        _titled("Equity and drawdown", task),
        caption,
        f"{caption} {_panels(data)}",
        data,
        curves.equity_figure,
    )


def learning(result: Result, task: str) -> Picture | None:
    """Validation returns of a task's methods."""
    data = curves.learning_data(result, curves.cases_of(result, task))
    caption = (
        "Validation return (sum of log returns) after each epoch, the first of the untrained "
        "network. The checkpoint that is tested was chosen by it."
    )
    return Picture(f"Learning curves: {task}", caption, f"{caption} {_panels(data)}", data,
                   curves.learning_figure)  # fmt: skip


def costs(result: Result, task: str | None = None) -> Picture | None:
    """Growth over fees: of a task's datasets, or of all that were walked at other fees."""
    cases = list(plain_rows(result)) if task is None else curves.cases_of(result, task)
    data = curves.costs_data(result, cases)
    if data is None:
        return None
    caption = (
        "Growth over the test period if each fill had cost so much. Policies were trained at one "
        "fee and are not trained again. Where a line crosses zero is its break-even cost."
    )
    return Picture(
        _titled("Growth over costs", task),
        caption,
        f"{caption} {_panels(data)}",
        data,
        curves.costs_figure,
    )


def _drawn(make: Callable[[Result], Picture | None]) -> Callable[[Result], str | None]:
    def draw(result: Result) -> str | None:
        picture = make(result)
        return None if picture is None else picture.svg()

    return draw


# What stands in the README; None where the result has no numbers for it.
README_PICTURES: dict[str, Callable[[Result], str | None]] = {
    f"scores-small-{name}.svg": _drawn(make)
    for name, make in (
        ("intervals", intervals),
        ("profiles", profiles),
        ("equity", equity),
        ("costs", costs),
    )
}
