"""A result of the scores benchmark as one HTML file that needs no network and no other file.

    python -m benchmarks.scores_html benchmarks/results/scores-small.json -o report.html

draws every table and picture of a result that was written before; ``python -m benchmarks.scores
--html report.html`` writes the same after a run.
"""

from __future__ import annotations

import argparse
import html
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.markdown_html import inline, markdown_html
from benchmarks.page import Part, Section, inline_svg, page
from benchmarks.scores_figures import Picture, pictures
from benchmarks.scores_tables import scores_tables
from benchmarks.scores_text import missing_text
from data_tools import command_line
from data_tools.files import replacing

Result = dict[str, Any]
NEEDED = ("tasks", "rows", "methods", "missing", "machine")
SYNTHETIC = (
    "**Scores are of these markets.** They are synthetic: fair games, or of laws made strong "
    "enough to be learned, of some of which the optimum is known, as it never is of real markets. "
    "A method that is good here need not earn anything anywhere."
)
OWN = (
    "**Scores are of these bars.** Nobody knows their optimum: 100 is what the online expert "
    "reached, and there is no score unless that is clearly above no position and random trading. "
    "It may be little, so that growth and its interval say more. A method that is good here need "
    "not earn anything later, or elsewhere."
)
LIMITS = (
    "**One price path.** All seeds of a task share its training, validation and test periods. "
    "Intervals over seeds say how much training varies; those of growth also resample time, but no "
    "interval covers another market or another regime.",
    "**Fills are simple.** Orders fill at the next bar's price with a fee and, where it is set, "
    "slippage. These tasks have no order book, no latency and no market impact; funding only where "
    "it is configured.",
    "**One setting a method.** Flags were chosen by us, a few a method and not equally many, and "
    "not for each dataset; another setting may change the order of methods.",
    "**Few seeds.** Where intervals overlap, or the table says that the order of methods is not "
    "stable between seeds, the order is not a finding.",
    "**The scale's ends are its own.** Scores of two tasks are comparable only as parts of the way "
    "from the random policy to the optimum (or online expert) of each; the random policy pays "
    "fees without end, so that doing nothing already scores above 0.",
    "**No advice.** Nothing here is a reason to trade.",
)
READING = (
    "Growth is the mean log return a decision over the test period, net of fees, in basis points "
    "(bp). A score is 0 at the random policy's growth and 100 at the computed optimum's or, where "
    "none is known, at the online expert's. The score of a row is that of the checkpoint chosen on "
    "validation, *last* that of the last one; in parentheses stand 95% intervals. Controls, in "
    "italics, learned nothing from the dataset; the *oracle* sees the next bar. Click a column's "
    "head to sort."
)


def report_html(result: Result) -> str:
    """The whole file."""
    sections = [
        Section("reading", "How to read it", f"<p>{inline(READING)}</p>"),
        Section("pictures", "Pictures", "", _pictures(result)),
        Section("tables", "Tables", "", _tables(result)),
        Section("origin", "Where the numbers come from", _origin(result)),
        Section("limits", "What this does not show", _limits(result)),
    ]
    name = result.get("suite")
    title = "Offline reinforcement learning for trading: scores"
    return page(title + (f", suite {name}" if name else ""), _lead(result), sections)


def _lead(result: Result) -> str:
    rows = result["rows"].values()
    trained = sum(len(row["seeds"]) for row in rows)
    methods = sorted({row["method"] for row in rows})
    said = (
        f"{trained} runs of {len(methods)} methods ({', '.join(methods)}) on "
        f"{len({(row['task'], row['kind'], row['size']) for row in rows})} datasets of "
        f"{len(result['tasks'])} tasks."
    )
    made = f"<p>{html.escape(said)}</p>"
    lacking = missing_text(result)
    if lacking:
        made += f"<p><strong>Not finished: {html.escape(lacking)}.</strong></p>"
    return made


def _pictures(result: Result) -> tuple[Part, ...]:
    return tuple(
        Part(f"picture-{name}", picture.title, _figure(name, picture))
        for name, picture in pictures(result).items()
    )


def _figure(name: str, picture: Picture) -> str:
    drawing = inline_svg(picture.svg(), name, picture.description)
    return (
        f'<figure>\n<div class="drawing">\n{drawing}\n</div>\n'
        f"<figcaption>{html.escape(picture.caption)}</figcaption>\n</figure>"
    )


def _tables(result: Result) -> tuple[Part, ...]:
    return tuple(
        Part(f"table-{number}", title, markdown_html(text, title))
        for number, (title, text) in enumerate(scores_tables(result).items())
    )


def _origin(result: Result) -> str:
    machine, rows = result["machine"], result["rows"].values()
    packages = ", ".join(f"{name} {text}" for name, text in sorted(machine["versions"].items()))
    facts = {
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['system']}",
        "versions": f"Python {machine['python']}, {packages}",
        "commit of this report": machine["commit"],
        "commits of the runs": ", ".join(sorted({c for row in rows for c in row["commits"]})),
        "seeds": ", ".join(str(seed) for seed in sorted({s for row in rows for s in row["seeds"]})),
        "training and testing": f"{_hours(result):.1f} core hours (median seed times seeds)",
    }
    for name, about in result["tasks"].items():
        test = about["test"]
        facts[f"test period of {name}"] = (
            f"{test['start']} to {test['end']}, {test['steps']:,} decisions; market: "
            f"{about['market']}"
        )
    inner = "".join(
        f"<dt><strong>{html.escape(name)}</strong></dt><dd>{html.escape(str(text))}</dd>"
        for name, text in facts.items()
    )
    return f"<dl>{inner}</dl>"


def _hours(result: Result) -> float:
    return sum(float(row["seconds"]) * len(row["seeds"]) for row in result["rows"].values()) / 3600


def _limits(result: Result) -> str:
    said = (OWN if "own_market" in result else SYNTHETIC, *LIMITS)
    return f"<ul>{''.join(f'<li>{inline(text)}</li>' for text in said)}</ul>"


def check_place(path: Path, made: Path | None = None) -> None:
    """See that a report can be written there.

    Args:
        path: Of the report.
        made: A folder that will be there by then, if any.

    Raises:
        ValueError: It cannot.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected the name of a file such as report.html.")
    parent = path.absolute().parent
    if not parent.is_dir() and (made is None or parent.resolve() != made.resolve()):
        raise ValueError(f"{path}: there is no folder {path.parent}. Make it first.")


def write_html(result: Result, path: Path) -> None:
    """Write the report, whole or not at all."""
    text = report_html(result)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read(path: Path) -> Result:
    """A result from its file.

    Raises:
        ValueError: There is none, or it is no result of this benchmark.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}. Expected a result of "
                         "python -m benchmarks.scores.") from error  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}.") from error
    lacking = [name for name in NEEDED if not isinstance(result, dict) or name not in result]
    if lacking:
        raise ValueError(
            f"{path} is no result of python -m benchmarks.scores: it has no {lacking[0]!r}."
        )
    return dict(result)


def main(argv: list[str] | None = None) -> int:
    """The command line: 0, 2 on bad input, 130 after Ctrl-C."""

    def command() -> None:
        parser = command_line.ArgumentParser(
            prog="python -m benchmarks.scores_html", description=__doc__
        )
        parser.add_argument("result", type=Path, help="scores-SUITE.json")
        parser.add_argument("-o", "--output", type=Path, default=Path("report.html"),
                            help="default: %(default)s")  # fmt: skip
        _write(parser.parse_args(argv))

    return command_line.run(command)


def _write(args: argparse.Namespace) -> None:
    check_place(args.output)
    result = read(args.result)
    try:
        write_html(result, args.output)
    except KeyError as error:
        raise ValueError(
            f"{args.result} has no {error}: it is of another version of the benchmark. "
            "Run python -m benchmarks.scores again with the same --folder."
        ) from error
    print(args.output)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
