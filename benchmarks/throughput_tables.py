"""The tables of results/throughput.json: steps a second, their limits, scaling and startup.

Each function takes the result and returns Markdown. A result without an expected key is a KeyError
that names it; a peer that was not measured shows as "-". What was asked for stands beside what was
measured, and says so where it was missed.
"""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import count, provenance, spread_of, table
from benchmarks.speed_cases import (
    COMPARISONS,
    CONSTRUCTION_BARS,
    CONSTRUCTION_BYTES_AIM,
    CONSTRUCTION_SECONDS_AIM,
    COPY_RATIO_AIM,
    INDEX_AIM,
    MACHINE_LANES,
    PEERS,
    SHORT_BARS,
    WARM_SECONDS_AIM,
)

NONE = "-"
NANOSECONDS = "{:,.0f} ns".format


def at_least(aim: float | None, value: float | None, form: str = "{:g}") -> str:
    """An aim that a value must reach, and whether it does; without an aim "-"."""
    if aim is None:
        return NONE
    if value is None:
        return form.format(aim)
    return form.format(aim) + (", met" if value >= aim else ", **missed**")


def at_most(aim: float, value: float, form: str = "{:g}") -> str:
    """An aim that a value must not exceed, and whether it does."""
    return f"at most {form.format(aim)}" + (", met" if value <= aim else ", **missed**")


def ratio_text(ratio: float | None) -> str:
    """A ratio with about three digits, so that one just below its aim does not look like it."""
    if ratio is None:
        return NONE
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def throughput_table(result: dict[str, Any]) -> str:
    """Decisions a second, ours beside the peers'."""
    rows = []
    for row in COMPARISONS:
        ours, title = result["ours"][row.ours], PEERS[row.peer].title
        cells = [row.ours, spread_of(ours, count), title, NONE]
        ratio = None
        if row.peer in result["peers"]:
            theirs = result["peers"][row.peer][row.theirs]
            ratio = ours["median"] / theirs["median"]
            if row.theirs != row.ours:
                cells[2] += f", {row.theirs.removeprefix('one-step: ')}"
            cells[3] = spread_of(theirs, count)
        cells += [ratio_text(ratio), at_least(row.aim, ratio)]
        rows.append(cells)
    more = (
        f"Median (smallest to largest) of {result['rounds']} alternating rounds of "
        f"{result['seconds']:g} s a case, random actions, resets in the time, not in the count; "
        f"{result['bars']:,} synthetic minute bars, windows 12/8/8/24 of five features, a "
        f"decision every 5 minutes; one time frame: {SHORT_BARS:,} bars, one window of 52, a "
        "decision every bar; "
        f"one thread where nothing else stands; seed {result['seed']}; average load before "
        f"{result['load_before']:g}."
    )
    header = ["decisions a second", "gym_trade", "beside", "peer", "ratio", "aim, at least"]
    return table(header, rows) + "\n\n" + provenance(result, more)


def machine_table(result: dict[str, Any]) -> str:
    """A lane-step beside a plain copy of its bytes."""
    limit = result["limit"]
    ratio, speed = limit["ratio"], limit["index"]
    index = 1e9 / speed["median"]
    rows = [
        ["flat observations, a lane-step", spread_of(limit["step_ns"], NANOSECONDS), NONE],
        ["a plain copy of one such row", spread_of(limit["copy_ns"], NANOSECONDS), NONE],
        [
            "ratio",
            spread_of(ratio, "{:.2f}".format),
            at_most(COPY_RATIO_AIM, ratio["median"]),
        ],
        ["index observations, a lane-step", f"{index:.0f} ns", NONE],
        [
            "index observations, lane-steps a second",
            spread_of(speed, count),
            at_least(INDEX_AIM / 1e6, speed["median"] / 1e6, "at least {:g} M"),
        ],
    ]
    more = (
        f"{MACHINE_LANES} lanes, one thread, copy=False; the copy takes each lane's next row from "
        "a matrix of every decision's observation, in compiled code."
    )
    return table([f"{MACHINE_LANES} lanes", "measured", "aim"], rows) + "\n\n" + more


def scaling_table(result: dict[str, Any]) -> str:
    """Nanoseconds a lane-step over lanes and over bars."""

    def row(lanes: int, bars: int, spread: dict[str, float]) -> list[str]:
        cells = [f"{lanes} lane{'s' if lanes > 1 else ''}", f"{bars:,}"]
        return [*cells, spread_of(spread, NANOSECONDS), count(1e9 / spread["median"])]

    rows = [row(int(n), result["bars"], spread) for n, spread in result["lanes"].items()]
    rows += [row(MACHINE_LANES, int(n), spread) for n, spread in result["market_bars"].items()]
    header = ["flat, copy=False, one thread", "bars", "a lane-step", "lane-steps a second"]
    return table(header, rows)


def _construction_rows(construction: dict[str, Any]) -> list[list[str]]:
    seconds, gigabytes = "{:.1f} s".format, lambda value: f"{value / 1e9:.2f} GB"
    bars, cost = construction["bars"], construction["cost"]
    total, peak = cost["total_seconds"], cost["peak_bytes"]
    aims = [NONE, NONE]
    if bars == CONSTRUCTION_BARS:
        aims[0] = at_most(CONSTRUCTION_SECONDS_AIM, total["median"], "{:g} s")
        aims[1] = at_most(CONSTRUCTION_BYTES_AIM / 1e9, peak["median"] / 1e9, "{:g} GB")
    environment = spread_of(cost["environment_seconds"], seconds)
    return [
        [f"{bars:,} bars: Market(frame)", spread_of(cost["market_seconds"], seconds), NONE],
        [f"{bars:,} bars: environment, first reset", environment, NONE],
        [f"{bars:,} bars: together", spread_of(total, seconds), aims[0]],
        [f"{bars:,} bars: peak memory above the frame's", spread_of(peak, gigabytes), aims[1]],
    ]


def startup_table(result: dict[str, Any]) -> str:
    """Seconds from a fresh process: compiling, compiled, and a large market."""
    titles = {"cold": "nothing compiled yet", "warm": "compiled before"}
    rows = []
    for name, spread in result["startup"].items():
        state, kind = name.split(": ")
        aim = at_most(WARM_SECONDS_AIM, spread["median"], "{:g} s") if state == "warm" else NONE
        title = f"import to first step, {kind}, {titles[state]}"
        rows.append([title, spread_of(spread, "{:.2f} s".format), aim])
    rows += _construction_rows(result["construction"])
    more = (
        f"Median (smallest to largest) of {result['repeats']} fresh processes; the embedded market "
        "for the first step, four time frames for the large one."
    )
    return table(["in a fresh process", "measured", "aim"], rows) + "\n\n" + more


TABLES = {
    "throughput": throughput_table,
    "throughput_machine": machine_table,
    "throughput_scaling": scaling_table,
    "startup": startup_table,
}
