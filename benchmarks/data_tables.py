"""The tables of results/data.json: collection, storage and scaling of datasets.

Each function takes the result and returns Markdown. What was not measured shows as "-".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.data_sides import FULL, GYM, INDEXED, VECTOR
from benchmarks.markdown import count, provenance, spread_of, table
from benchmarks.throughput_tables import NONE, at_least, at_most, ratio_text
from benchmarks.training_tables import SAMPLING_AIM, rate

COLLECTION_AIM = 15.0
BYTES_AIM, MEMORY_AIM = 0.52, 1 / 3  # of Tianshou's
COLLECTION_PEAKS = {FULL: 1.5e9, INDEXED: 0.5e9}  # of a million transitions
PEAK_ROWS = 1_000_000
INDEXED_BYTES_AIM, INDEXED_SAMPLING_AIM = 64, 1.0
LARGE_ROWS, LARGE_PEAK_AIM = 20_000_000, 4e9
EXTRAPOLATED = 100_000_000

Spread = dict[str, float]


def gigabytes(value: float) -> str:
    """Bytes, in GB."""
    return f"{value / 1e9:.2f} GB"


def _cell(spread: Spread | None, form: Callable[[float], str]) -> str:
    return NONE if spread is None else spread_of(spread, form)


def collection_table(result: dict[str, Any]) -> str:
    """Transitions a second, saving included, ours beside Tianshou's Collector."""
    spreads, lanes = result["collection"], result["lanes"]
    ours = spreads[FULL]["median"]
    titles = {
        FULL: f"data_tools.collect, {lanes} lanes",
        INDEXED: f"data_tools.collect, {lanes} lanes, indexed layout",
        GYM: f"Tianshou's Collector over {lanes} of gym.make",
        VECTOR: f"Tianshou's Collector over our vector of {lanes}",
    }
    rows = []
    for side, title in titles.items():
        spread = spreads.get(side)
        ratio = ours / spread["median"] if spread and side in (GYM, VECTOR) else None
        aim = at_least(COLLECTION_AIM, ratio) if side == GYM else NONE
        rows.append([title, _cell(spread, count), ratio_text(ratio), aim])
    header = ["transitions a second, collected and saved", "measured", "ours over it", "aim"]
    more = (
        f"Median (smallest to largest) of {result['rounds']} alternating rounds, each in a fresh "
        f"process, of {result['rows']:,} transitions (Tianshou {result['tianshou_rows']:,}); "
        "random actions on the embedded market, the whole call with its saving, without flushing "
        "the disk's cache; Tianshou stores no infos."
    )
    return table(header, rows) + "\n\n" + provenance(result, more)


def storage_table(result: dict[str, Any]) -> str:
    """Bytes, memory and sampling of the same transitions in every form."""
    storage, rows = result["storage"], result["store_rows"]
    full, theirs, indexed = (storage.get(side) for side in (FULL, "tianshou", INDEXED))
    lines = [
        _bytes_row(rows, full, theirs, indexed),
        _memory_row(full, theirs, indexed),
        _collection_peak_row(rows, full, indexed),
        _sampling_row(result["sampling"]),
        _layouts_row(result["layout_sampling"]),
        _large_row(result["large"]),
    ]
    header = ["", "full", "Tianshou", "indexed", "ratio", "aim"]
    more = (
        f"Median (smallest to largest) of {result['rounds']} rounds, each in a fresh process, with "
        f"{rows:,} transitions of {result['lanes']} lanes; Tianshou: VectorReplayBuffer, save_hdf5 "
        "and load_hdf5. Memory of saving and loading is a process's peak above what it held "
        "before, that of collecting its whole peak."
    )
    return table(header, lines) + "\n\n" + more


def _bytes_row(rows: int, full: Any, theirs: Any, indexed: Any) -> list[str]:
    def each(side: Any) -> str:
        return NONE if side is None else f"{side['bytes']['median'] / rows:,.1f}"

    ratio = full["bytes"]["median"] / theirs["bytes"]["median"]
    aim = at_most(BYTES_AIM, ratio)
    if indexed is not None:
        aim += "; indexed " + at_most(INDEXED_BYTES_AIM, indexed["bytes"]["median"] / rows)
    cells = [each(full), each(theirs), each(indexed), ratio_text(ratio), aim]
    return ["bytes a transition on disk", *cells]


def _above(side: Any) -> float:
    """A process's peak above what it held before."""
    value: float = side["peak_bytes"]["median"] - side["base_bytes"]["median"]
    return value


def _memory_row(full: Any, theirs: Any, indexed: Any) -> list[str]:
    below = _above(theirs)
    ratio = _above(full) / below if below > 0 else None
    cells = [NONE if side is None else gigabytes(_above(side)) for side in (full, theirs, indexed)]
    aim = NONE if ratio is None else at_most(MEMORY_AIM, ratio, "{:.3g}")
    return ["peak memory, saving and loading", *cells, ratio_text(ratio), aim]


def _collection_peak_row(rows: int, full: Any, indexed: Any) -> list[str]:
    """The whole process's peak, imports included."""
    cells, aims = [], []
    for layout, side in ((FULL, full), (INDEXED, indexed)):
        peak = None if side is None else side["collection_peak_bytes"]["median"]
        cells.append(NONE if peak is None else gigabytes(peak))
        if peak is not None and rows == PEAK_ROWS:
            wanted = at_most(COLLECTION_PEAKS[layout] / 1e9, peak / 1e9, "{:g} GB")
            aims.append(f"{layout} {wanted}")
    title = f"peak memory of a process that collects {rows:,}"
    return [title, cells[0], NONE, cells[1], NONE, "; ".join(aims) or NONE]


def _sampling_row(spreads: dict[str, Spread]) -> list[str]:
    ratio = spreads["ours"]["median"] / spreads["tianshou"]["median"]
    ours, theirs = (spread_of(spreads[side], rate) for side in ("ours", "tianshou"))
    aim = at_least(SAMPLING_AIM, ratio)
    title = "batches of 256 a second, as tensors, of 100,000 in memory"
    return [title, ours, theirs, NONE, ratio_text(ratio), f"at least {aim}"]


def _layouts_row(spreads: dict[str, Spread]) -> list[str]:
    indexed, ratio, aim = spreads.get(INDEXED), None, NONE
    if indexed is not None:
        ratio = indexed["median"] / spreads[FULL]["median"]
        aim = f"at least {at_least(INDEXED_SAMPLING_AIM, ratio)}"
    title = "batches of 256 a second, of these files; indexed over full"
    cells = [_cell(spreads[FULL], rate), NONE, _cell(indexed, rate)]
    return [title, *cells, ratio_text(ratio), aim]


def _large_row(large: dict[str, float] | None) -> list[str]:
    if large is None:
        return ["a large indexed set", NONE, NONE, NONE, NONE, NONE]
    rows, peak = int(large["rows"]), large["peak_bytes"]
    aim = at_most(LARGE_PEAK_AIM / 1e9, peak / 1e9, "{:g} GB") if rows == LARGE_ROWS else NONE
    factor = EXTRAPOLATED / rows
    text = (
        f"{gigabytes(peak)} at the peak; {gigabytes(large['bytes'])} on disk, made in "
        f"{large['seconds']:.0f} s, opened in {large['open_seconds']:.1f} s, "
        f"{rate(large['per_second'])} batches a second; {EXTRAPOLATED // 10**6} M would be "
        f"{gigabytes(factor * large['bytes'])} in {factor * large['seconds']:.0f} s"
    )
    return [f"{rows:,} made, opened and sampled in one process", NONE, NONE, text, NONE, aim]


def scaling_table(result: dict[str, Any]) -> str:
    """Nanoseconds a transition over the number of them."""
    form = "{:,.0f} ns".format
    rows = [
        [f"{int(size):,}", spread_of(spreads["whole"], form), spread_of(spreads["beyond"], form),
         gigabytes(spreads["peak_bytes"]["median"])]
        for size, spreads in result["scaling"].items()
    ]  # fmt: skip
    header = [
        "transitions collected and saved", "a transition, whole call",
        "beyond what a call costs", "peak memory of the process",
    ]  # fmt: skip
    return table(header, rows)


TABLES = {
    "data_collection": collection_table,
    "data_storage": storage_table,
    "data_scaling": scaling_table,
}
