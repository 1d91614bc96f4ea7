"""The tables of results/training.json: each function takes the result and returns Markdown."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import provenance, spread_of, table
from benchmarks.throughput_tables import at_least, ratio_text
from benchmarks.training_cases import CASES, LARGE, QUANTILES, ROWS

SAMPLING_AIM = 3.0


def rate(value: float) -> str:
    """Steps a second, with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def training_table(result: dict[str, Any]) -> str:
    """Gradient steps a second of every method, ours beside Tianshou's."""
    rows = []
    for case in CASES:
        for size, aim in case.aims.items():
            spreads = result["cases"][case.name][str(size)]
            ratio = spreads["ours"]["median"] / spreads["tianshou"]["median"]
            rows.append(
                [
                    case.name, str(size), spread_of(spreads["ours"], rate),
                    spread_of(spreads["tianshou"], rate), ratio_text(ratio), at_least(aim, ratio),
                ]
            )  # fmt: skip
    header = [
        "gradient steps a second", "observation, hidden layers, batch", "offline_algos",
        "Tianshou", "ratio", "aim, at least",
    ]  # fmt: skip
    more = (
        f"Median (smallest to largest) of {result['rounds']} alternating rounds of "
        f"{result['seconds']:g} s, one thread, {ROWS:,} random transitions, sampling included, "
        f"{QUANTILES} quantiles in discrete CQL."
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


def sampling_table(result: dict[str, Any]) -> str:
    """Batches a second, as tensors."""
    spreads = result["sampling"]
    ratio = spreads["ours"]["median"] / spreads["tianshou"]["median"]
    row = [
        f"{LARGE.batch} transitions of {LARGE.columns} columns", spread_of(spreads["ours"], rate),
        spread_of(spreads["tianshou"], rate), ratio_text(ratio), at_least(SAMPLING_AIM, ratio),
    ]  # fmt: skip
    header = ["batches a second, as tensors", "TensorReplayBuffer", "Tianshou and `to_torch`",
              "ratio", "aim, at least"]  # fmt: skip
    return table(header, [row])


PEER_TITLES = {"d3rlpy": "d3rlpy", "corl": "CORL"}


def peers_table(result: dict[str, Any]) -> str:
    """Gradient steps a second of ours beside other packages, and ours divided by theirs."""
    rows = []
    for method, sizes in result["cases"].items():
        for size, spreads in sizes.items():
            row = [method, size, spread_of(spreads["ours"], rate)]
            for peer in PEER_TITLES:
                if peer in spreads:
                    ratio = spreads["ours"]["median"] / spreads[peer]["median"]
                    row += [spread_of(spreads[peer], rate), ratio_text(ratio)]
                else:
                    row += ["-", "-"]
            rows.append(row)
    header = ["gradient steps a second", "observation, hidden layers, batch", "offline_algos"]
    for title in PEER_TITLES.values():
        header += [title, "ratio"]
    corl = "its loops from a checkout"
    if not result.get("corl_checkout", False):
        corl = "its memories, networks and trainers, transcribed, without what evaluates"
    more = (
        f"Median (smallest to largest) of {result['rounds']} alternating rounds of "
        f"{result['seconds']:g} s, one thread, {ROWS:,} random transitions, sampling included, "
        f"{QUANTILES} quantiles in discrete CQL; CORL: {corl}."
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


TABLES = {"training": training_table, "training_sampling": sampling_table}
PEER_TABLES = {"training_peers": peers_table}
