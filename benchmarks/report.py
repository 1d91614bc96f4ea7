"""Write the README's tables from results/*.json, or check that they still say the same.

``python -m benchmarks.report --write`` replaces what stands between a table's markers and draws
results/throughput.svg; ``--check`` exits with 1 where a table or the picture differs from its
results. A number enters the README only so.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import (
    data_tables,
    method_tables,
    scores_report,
    throughput_tables,
    training_tables,
)
from benchmarks.machine import RESULTS, ROOT, read_result
from benchmarks.markdown import provenance, table
from benchmarks.plots import same_picture, throughput_svg
from benchmarks.scores_figures import README_PICTURES
from data_tools.files import replacing

Made = TypeVar("Made", str, str | None)
README = ROOT / "README.md"
POLICY_COLUMNS = (
    ("total_return", "return", "{:+.1%}"),
    ("sharpe", "Sharpe", "{:.2f}"),
    ("max_drawdown", "max. drawdown", "{:.1%}"),
    ("n_trades", "round trips", "{:.0f}"),
    ("turnover", "turnover", "{:.0f}"),
)


def _spread(values: list[float], form: str) -> str:
    """The median of several seeds, with the smallest and largest where they differ."""
    texts = [form.format(value) for value in (statistics.median(values), min(values), max(values))]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]} to {texts[2]})"


def quickstart_table(result: dict[str, Any]) -> str:
    """Every policy on the test period, one block a market."""
    rows = []
    for market, run in result["markets"].items():
        for policy in run["policies"][0]:
            seeds = [outcome[policy] for outcome in run["policies"]]
            cells = [
                _spread([metrics[key] for metrics in seeds], form)
                for key, _, form in POLICY_COLUMNS
            ]
            rows.append([f"{market}: {policy}", *cells])
    run = next(iter(result["markets"].values()))
    more = (
        f"Median (smallest to largest) of seeds {result['seeds'][0]} to {result['seeds'][-1]}, on "
        f"one price path a market; {run['transitions']} transitions, {run['updates']} updates, the "
        f"checkpoint chosen on validation; one deterministic pass over the test period, "
        f"{run['test']['steps']} decisions, fee {run['fee']:.2%} a fill."
    )
    header = ["market: policy", *[title for _, title, _ in POLICY_COLUMNS]]
    return table(header, rows) + "\n\n" + provenance(result, more)


# name of a table -> the result it is made from, and how
TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    **{name: ("throughput", make) for name, make in throughput_tables.TABLES.items()},
    "quickstart": ("quickstart", quickstart_table),
    **{name: ("training", make) for name, make in training_tables.TABLES.items()},
    **{name: ("training_peers", make) for name, make in training_tables.PEER_TABLES.items()},
    **{name: ("methods", make) for name, make in method_tables.TABLES.items()},
    **{name: ("data", make) for name, make in data_tables.TABLES.items()},
    **scores_report.TABLES,
}
# What may be missing, to the command that makes it: its tables then say so.
OPTIONAL = {"data": "benchmarks.data"} | scores_report.COMMANDS
# Tables that a text need not have.
UNSHOWN = scores_report.UNSHOWN
# None: the result has no numbers for the picture, as of a stage that was not run.
PICTURES: dict[str, tuple[str, Callable[[dict[str, Any]], str | None]]] = {
    "throughput.svg": ("throughput", throughput_svg),
    **{name: ("scores-small", draw) for name, draw in README_PICTURES.items()},
}
# Pictures of these results are drawn once there is one.
OPTIONAL_PICTURES = ("scores-small",)


def fill(text: str, name: str, body: str) -> str:
    """Replace what stands between the markers of one table.

    Raises:
        ValueError: The markers are not there.
    """
    pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers '<!-- table: {name} -->' and '<!-- end: {name} -->'")
    return pattern.sub(lambda match: match[1] + body + "\n" + match[2], text)


def drawn(folder: Path, names: Iterable[str] = tuple(PICTURES)) -> dict[Path, str]:
    """Pictures of the results that are there.

    Args:
        folder: Of results; pictures stand beside them.
        names: Of `PICTURES`.

    Raises:
        ValueError: A result that must be there is not, or lacks something.
    """
    made = {}
    for name in names:
        source, draw = PICTURES[name]
        if source not in OPTIONAL_PICTURES or read_result(source, folder) is not None:
            text = made_from(source, draw, folder)
            if text is not None:
                made[folder / name] = text
    return made


def made_from(source: str, make: Callable[[dict[str, Any]], Made], folder: Path) -> Made | str:
    """Make one table or picture of its result.

    Raises:
        ValueError: The result is not there and not in `OPTIONAL`, or lacks something.
    """
    result = read_result(source, folder)
    if result is None and source in OPTIONAL:
        return f"Not measured yet: `python -m {OPTIONAL[source]}`."
    command = OPTIONAL.get(source, f"benchmarks.{source}")
    if result is None:
        raise ValueError(f"no {folder / source}.json; run python -m {command}")
    try:
        return make(result)
    except KeyError as error:
        raise ValueError(
            f"{folder / source}.json has no {error}; run python -m {command} again"
        ) from error


def render(text: str, folder: Path = RESULTS) -> str:
    """The README's text with every table made anew from its results."""
    for name, (source, make) in TABLES.items():
        if name in UNSHOWN and f"<!-- table: {name} -->" not in text:
            continue
        text = fill(text, name, made_from(source, make, folder))
    return text


def main(argv: list[str] | None = None) -> int:
    """Write or check; 1 where a check finds a difference, 2 on an error."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="replace the tables and pictures")
    action.add_argument("--check", action="store_true", help="compare them")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    try:
        made = {arguments.readme: render(arguments.readme.read_text(), arguments.results)}
        made |= drawn(arguments.results)
    except (OSError, ValueError) as error:
        print(f"error: {arguments.readme}: {error}", file=sys.stderr)
        return 2
    return check(made) if arguments.check else write(made)


def check(made: dict[Path, str]) -> int:
    """Name every file that differs from what was made; 1 where there is one."""
    stale = []
    for path, text in made.items():
        same = same_picture if path.name in PICTURES else str.__eq__
        if not path.exists() or not same(path.read_text(), text):
            stale.append(path)
    for path in stale:
        print(
            f"{path} differs from results/*.json: run python -m benchmarks.report --write",
            file=sys.stderr,
        )
    return int(bool(stale))


def write(made: dict[Path, str]) -> int:
    """Replace every file by the text that was made."""
    for path, text in made.items():
        with replacing(path) as temporary:
            temporary.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
