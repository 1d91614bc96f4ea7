"""Pictures: learning curves of training runs, and results/throughput.svg.

``python -m benchmarks.plots curves log/ -o curves.png`` draws the validation returns of all runs
below a folder: a panel a task, a line a method, its mean over seeds.

results/throughput.svg shows steps a second over lanes, of gym_trade and of TorchTrade. The same
results give the same text with the same Matplotlib: no date, no random identifiers, and letters
that are text and not outlines. Another Matplotlib writes the same picture in other words; the text
therefore says which one drew it, and carries a digest of what was drawn.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from benchmarks.learning_curves import BANDS, Run, find_runs, over_seeds
from benchmarks.speed_cases import CASES, PEERS
from data_tools import command_line
from data_tools.files import replacing

STYLE = {"svg.hashsalt": "throughput", "svg.fonttype": "none", "font.family": "sans-serif"}
COLOURS = {"gym_trade": "#1f77b4", "torchtrade": "#d62728"}
# Okabe and Ito's, which colour-blind readers tell apart; without yellow, which is faint on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))  # once the colours are used up
MARKERS = "osD^vPX*"  # one more than colours: together they repeat late
PANEL = (4.6, 3.2)  # inches
COLUMNS = 3
FORMATS = ("png", "svg", "pdf")
BEHAVIOUR = "behaviour of the data"


def _points(cases: Any, speeds: dict[str, Any], threads: int) -> list[tuple[int, float]]:
    """(lanes, steps a second) of the sequential vector cases with so many threads."""
    return [
        (case.lanes, speeds[case.name]["median"])
        for case in cases
        if case.lanes and case.threads == threads and case.name in speeds
        and ":" not in case.name
    ]  # fmt: skip


def throughput_figure(result: dict[str, Any]) -> Figure:
    """Draw one result of ``benchmarks.throughput``."""
    figure = Figure(figsize=(7.2, 4.2))
    axes = figure.add_axes((0.11, 0.14, 0.86, 0.77))
    lanes = {int(name): 1e9 / spread["median"] for name, spread in result["lanes"].items()}
    colour = COLOURS["gym_trade"]
    axes.plot(
        list(lanes), list(lanes.values()), "-o", color=colour, ms=4,
        label="gym_trade, flat, copy=False, 1 thread",
    )  # fmt: skip
    drawn = [("gym_trade", "gym_trade, dict, copy=True", CASES, result["ours"])]
    if "torchtrade" in result["peers"]:
        peer = PEERS["torchtrade"]
        drawn.append(("torchtrade", peer.title, peer.cases, result["peers"]["torchtrade"]))
    for name, title, cases, speeds in drawn:
        for threads, marker in ((1, "s"), (2, "^")):
            points = _points(cases, speeds, threads)
            label = f"{title}, {threads} thread{'s' if threads > 1 else ''}"
            axes.plot(
                *zip(*points, strict=True), marker, ls=":", color=COLOURS[name], mfc="none",
                label=label,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(lanes), [str(count) for count in lanes])
    axes.set_xlabel("lanes")
    axes.set_ylabel("lane-steps a second")
    axes.set_title("Steps a second over lanes, Trade-Sequential-v0", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def throughput_svg(result: dict[str, Any]) -> str:
    """The picture as SVG text."""
    shown = {key: result[key] for key in ("lanes", "ours", "peers")}
    return svg_text(lambda: throughput_figure(result), shown)


def svg_text(draw: Callable[[], Figure], shown: Any) -> str:
    """A picture as SVG text, with the digest of what it shows (JSON)."""
    digest = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    metadata = {"Date": None, "Description": f"of results {digest}"}
    with matplotlib.style.context("default"), rc_context(STYLE):
        written = io.StringIO()
        draw().savefig(written, format="svg", metadata=metadata)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def same_picture(one: str, other: str) -> bool:
    """Whether two texts of `svg_text` show the same.

    Texts of the same Matplotlib must be equal; those of two versions must be of equal results.
    """
    drawn_by = [re.findall(r"Matplotlib v[^,]+", text) for text in (one, other)]
    if drawn_by[0] == drawn_by[1]:
        return one == other
    digests = [re.findall(r"of results [0-9a-f]{64}", text) for text in (one, other)]
    return digests[0] == digests[1] != []


def curves_figure(runs: Sequence[Run], band: str = "range") -> Figure:
    """Draw validation returns over steps: a panel a task, a line a method.

    Args:
        runs: At least one.
        band: One of `BANDS`.
    """
    panels = sorted({(run.task, run.online) for run in runs})
    methods = sorted({run.method for run in runs})
    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * lines + 0.8), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    shown: dict[str, Any] = {}
    for axes, (task, online) in zip(grid, panels, strict=False):
        chosen = [run for run in runs if (run.task, run.online) == (task, online)]
        for number, method in enumerate(methods):
            of_method = [run for run in chosen if run.method == method]
            if of_method:
                line, seeds = _draw(axes, of_method, number, band)
                shown.setdefault(method, (line, set()))[1].add(seeds)
        for value in sorted({run.behaviour for run in chosen if run.behaviour is not None}):
            dashed = axes.axhline(value, color="0.45", ls="--", lw=1.2, zorder=1)
            shown[BEHAVIOUR] = (dashed, set())
        axes.set_title(task, fontsize=11)
        axes.set_xlabel("environment steps" if online else "gradient steps")
        axes.set_ylabel("validation return")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0.0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    named = sorted(shown.items(), key=lambda item: (item[0] == BEHAVIOUR, item[0]))
    # below the panels, where it covers no data
    figure.legend(
        [line for _, (line, _) in named], [name + _seeds(counts) for name, (_, counts) in named],
        loc="outside lower center", ncols=min(len(named), 3 * columns), frameon=False, fontsize=9,
        title=f"Mean over seeds; shaded: {BANDS[band]}.", title_fontsize=9,
    )  # fmt: skip
    return figure


def _draw(axes: Axes, runs: Sequence[Run], number: int, band: str) -> tuple[Any, int]:
    """A method's line, and how many seeds it has."""
    curve, colour = over_seeds(runs, band), PALETTE[number % len(PALETTE)]
    if curve.seeds > 1:
        axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.15, lw=0)
    (line,) = axes.plot(
        curve.steps, curve.mean, color=colour, ls=DASHES[number // len(PALETTE) % len(DASHES)],
        lw=1.6, marker=MARKERS[number % len(MARKERS)], ms=4,
        markevery=max(len(curve.steps) // 10, 1),
    )  # fmt: skip
    return line, curve.seeds


def _seeds(counts: Iterable[int]) -> str:
    """How many seeds a method has, in parentheses."""
    texts = [str(count) for count in sorted(counts)]
    if not texts:
        return ""
    return f" ({' or '.join(texts)} {'seed' if texts == ['1'] else 'seeds'})"


def draw_curves(arguments: argparse.Namespace) -> None:
    """Read, draw and write.

    Raises:
        ValueError: There is nothing to draw, or the picture's name has no known ending.
    """
    output: Path = arguments.output
    kind = output.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(f"-o {output}: expected a name that ends in .{', .'.join(FORMATS)}.")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"-o {output}: there is no folder {output.parent}. Make it first.")
    runs = find_runs(arguments.folder)
    for name in ("task", "method"):
        wanted, known = getattr(arguments, f"{name}s"), {getattr(run, name) for run in runs}
        if missing := set(wanted or ()) - known:
            raise ValueError(
                f"--{name}s {sorted(missing)[0]}: no such {name} below {arguments.folder}. Found: "
                f"{', '.join(sorted(known))}."
            )
        runs = [run for run in runs if not wanted or getattr(run, name) in wanted]
    if not runs:
        raise ValueError("none of these methods was run on these tasks.")
    with matplotlib.style.context("default"), replacing(output) as temporary:
        curves_figure(runs, arguments.band).savefig(temporary, format=kind, dpi=150)
    print(output)


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, 2 on bad input, or 130 after Ctrl-C."""

    def command() -> None:
        parser = command_line.ArgumentParser(description=__doc__)
        pictures = parser.add_subparsers(dest="picture", required=True, metavar="PICTURE")
        curves = pictures.add_parser("curves", help="validation returns of training runs")
        curves.add_argument("folder", type=Path, help="a --logdir, or a part of one")
        curves.add_argument(
            "-o", "--output", type=Path, default=Path("curves.png"),
            help="the picture, .png, .svg or .pdf (default: %(default)s)",
        )  # fmt: skip
        curves.add_argument("--tasks", nargs="+", metavar="TASK", help="only these")
        curves.add_argument("--methods", nargs="+", metavar="METHOD", help="only these")
        curves.add_argument(
            "--band", choices=BANDS, default="range",
            help="what is shaded: range, " + "; interval, ".join(BANDS.values()).replace("%", "%%")
            + " (default: %(default)s)",
        )  # fmt: skip
        draw_curves(parser.parse_args(argv))

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
