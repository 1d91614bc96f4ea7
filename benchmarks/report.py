"""Write the README's tables from results/*.json, or check that they still say the same.

``python -m benchmarks.report --write`` replaces what stands between a table's markers;
``--check`` exits with 1 where a table and its results differ. A number enters the README only so.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, ROOT, read_result
from data_tools.files import replacing

README = ROOT / "README.md"
POLICY_COLUMNS = (
    ("total_return", "return", "{:+.1%}"),
    ("sharpe", "Sharpe", "{:.2f}"),
    ("max_drawdown", "max. drawdown", "{:.1%}"),
    ("n_trades", "round trips", "{:.0f}"),
    ("turnover", "turnover", "{:.0f}"),
)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def provenance(result: dict[str, Any], more: str) -> str:
    """The line below a table: machine, versions, commit and what else decides its numbers."""
    machine = result["machine"]
    versions = machine["versions"] | result.get("peer_versions", {})
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python "
        f"{machine['python']}; {packages}; commit {machine['commit']}. {more}"
    )


def _count(value: float) -> str:
    return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value / 1e3:.1f} k"


def throughput_table(result: dict[str, Any]) -> str:
    """Steps a second, ours beside the peer's."""
    rows = []
    for name, ours in result["ours"].items():
        peer = result["torchtrade"].get(name)
        cells = [f"{_count(ours['median'])} ({_count(ours['min'])} to {_count(ours['max'])})"]
        if peer:
            cells.append(
                f"{_count(peer['median'])} ({_count(peer['min'])} to {_count(peer['max'])})"
            )
            cells.append(f"{ours['median'] / peer['median']:.1f}")
        rows.append([name, *cells, *["-"] * (3 - len(cells))])
    more = (
        f"Median (smallest to largest) of {result['rounds']} alternating rounds of "
        f"{result['seconds']:g} s a case; {result['bars']} synthetic minute bars, windows "
        f"12/8/8/24 of five features, seed {result['seed']}."
    )
    header = ["steps a second", "gym_trade", "TorchTrade", "ratio"]
    return table(header, rows) + "\n\n" + provenance(result, more)


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


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "throughput": throughput_table,
    "quickstart": quickstart_table,
}


def fill(text: str, name: str, body: str) -> str:
    """Replace what stands between the markers of one table.

    Raises:
        ValueError: The markers are not there.
    """
    pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"no markers '<!-- table: {name} -->' and '<!-- end: {name} -->'")
    return pattern.sub(lambda match: match[1] + body + "\n" + match[2], text)


def render(text: str, folder: Path = RESULTS) -> str:
    """The README's text with every table made anew from its results."""
    for name, make in TABLES.items():
        result = read_result(name, folder)
        if result is None:
            raise ValueError(f"no {folder / name}.json; run python -m benchmarks.{name}")
        text = fill(text, name, make(result))
    return text


def main(argv: list[str] | None = None) -> int:
    """Write or check; 1 where a check finds a difference, 2 on an error."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="replace the tables")
    action.add_argument("--check", action="store_true", help="compare them")
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    try:
        text = arguments.readme.read_text()
        made = render(text, arguments.results)
    except (OSError, ValueError) as error:
        print(f"error: {arguments.readme}: {error}", file=sys.stderr)
        return 2
    if arguments.check:
        if made != text:
            print(
                f"{arguments.readme} differs from results/*.json: run python -m benchmarks.report "
                "--write",
                file=sys.stderr,
            )
        return int(made != text)
    with replacing(arguments.readme) as temporary:
        temporary.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
