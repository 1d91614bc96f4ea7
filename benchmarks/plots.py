"""results/throughput.svg: steps a second over lanes, of gym_trade and of TorchTrade.

The same results give the same text with the same Matplotlib: no date, no random identifiers, and
letters that are text and not outlines. Another Matplotlib writes the same picture in other words;
the text therefore says which one drew it, and carries a digest of what was drawn.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import Any

import matplotlib.style
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.speed_cases import CASES, PEERS

STYLE = {"svg.hashsalt": "throughput", "svg.fonttype": "none", "font.family": "sans-serif"}
COLOURS = {"gym_trade": "#1f77b4", "torchtrade": "#d62728"}


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


def _digest(result: dict[str, Any]) -> str:
    """Names what the picture shows."""
    shown = {key: result[key] for key in ("lanes", "ours", "peers")}
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def throughput_svg(result: dict[str, Any]) -> str:
    """The picture as SVG text."""
    metadata = {"Date": None, "Description": f"of results {_digest(result)}"}
    with matplotlib.style.context("default"), rc_context(STYLE):
        written = io.StringIO()
        throughput_figure(result).savefig(written, format="svg", metadata=metadata)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def same_picture(one: str, other: str) -> bool:
    """Whether two texts of `throughput_svg` show the same.

    Texts of the same Matplotlib must be equal; those of two versions must be of equal results.
    """
    drawn_by = [re.findall(r"Matplotlib v[^,]+", text) for text in (one, other)]
    if drawn_by[0] == drawn_by[1]:
        return one == other
    digests = [re.findall(r"of results [0-9a-f]{64}", text) for text in (one, other)]
    return digests[0] == digests[1] != []
