"""Cut a dataset in two by time, with an embargo in between.

FIRST gets the transitions that are over at the cut, SECOND those that begin once every window shows
only bars that open from the cut on; what lies between is left out. An episode that the cut goes
through is marked truncated there, with its true next observation; what SECOND has of one begins in
its middle. Their spans in the provenance are their own, so that a policy trained on FIRST is
evaluated after the cut.

Example: trades.hdf5 train.hdf5 validation.hdf5 --at 2022-09-01
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_tools.command_line import (
    ArgumentParser,
    CommandLineError,
    terminate_cleanly,
)
from data_tools.edit_command import add_source_flags, run_edit
from data_tools.editing import (
    Edited,
    Selection,
    check_target,
    describe_edit,
    longest_episode,
    nothing,
    open_source,
    progress_bar,
    with_episodes,
    write_selections,
)
from data_tools.embargo import clear_of
from data_tools.flat_layout import DatasetError
from data_tools.market_rows import MarketRows, require_market
from data_tools.market_windows import MarketWindows, open_tables
from data_tools.stamps import read_time
from data_tools.stored_rows import StoredRows
from gym_trade import Market

AUTO = "auto"


@dataclass(frozen=True)
class Cut:
    """Where a market is cut.

    Attributes:
        times: Its decision instants, datetime64[ns] (n,), UTC.
        last: The last one of the first part.
        resume: The first one of the second part.
        embargo: What was asked for between them.
    """

    times: npt.NDArray[np.datetime64]
    last: int
    resume: int
    embargo: str

    def text(self, decision: int) -> str:
        """A decision's instant, ISO 8601 UTC."""
        return pd.Timestamp(self.times[decision], tz="UTC").isoformat()


def split(
    source: str | os.PathLike[str],
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    *,
    at: str,
    embargo: str = AUTO,
    market: Market | str | None = None,
    features: Any = None,
    overwrite: bool = False,
    progress: bool = False,
    check: Callable[[], object] = nothing,
) -> tuple[Edited, Edited]:
    """Write the earlier and the later transitions of a trading dataset, in its layout.

    Args:
        source: The dataset, of either layout.
        first: The file for what is over at the cut.
        second: The file for what begins after the embargo.
        at: The cut, UTC where it has no zone.
        embargo: "auto", until no window of the second part shows a bar from before the cut; or how
            long, such as "12h" or "0".
        market: As for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        overwrite: Replace existing targets.
        progress: Show a progress bar on stderr.
        check: Called once in a while; may raise.

    Raises:
        ValueError: A time cannot be read, a part would be empty, or a file cannot be read or
            written (`hdf5.DatasetError`).
    """
    place, goals = Path(source), (Path(first), Path(second))
    for goal in goals:
        check_target(goal, [place], overwrite)
    if goals[0].resolve() == goals[1].resolve():
        raise CommandLineError(f"{goals[0]}: expected two different files to write.")
    moment = _moment(at)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(open_source(place, market, features))
        known = require_market(opened, "split")
        bars, tables = open_tables(place, known, market=market, features=features)
        cut = _find_cut(bars, tables.instants, known["layout"], moment, embargo)
        rows = MarketRows(opened, MarketWindows.of(tables))
        selections = _choose(rows, cut, known["task"], check)
        parts = [
            _describe(opened, known, cut, moment, number, selection)
            for number, selection in enumerate(selections)
        ]
        bar = stack.enter_context(progress_bar(sum(s.rows for s in selections), progress))
        writers, made = [], []
        for goal, selection, about in zip(goals, selections, parts, strict=True):
            writer = opened.writer(goal, selection.rows, opened.extra, overwrite)
            writers.append(stack.enter_context(writer))
            scan = write_selections(writer, [selection], check, bar)
            episodes = scan.table().summary(longest_episode(about))
            about = with_episodes(about, selection.rows, episodes, same=False)
            made.append(Edited(goal, selection.rows, episodes, about))
        for writer, edited in zip(writers, made, strict=True):  # once both are whole
            writer.finish(edited.provenance)
    return made[0], made[1]


def _moment(text: str) -> pd.Timestamp:
    moment = read_time(text)
    if moment is None:
        raise CommandLineError(f"--at {text}: expected a time such as 2022-09-01T00:00.")
    return moment


def _find_cut(
    market: Market,
    instants: npt.NDArray[np.int64],
    layout: list[dict[str, Any]],
    moment: pd.Timestamp,
    embargo: str,
) -> Cut:
    last = int(np.searchsorted(instants, moment.value, side="right")) - 1
    if last < 0:
        raise DatasetError(
            f"--at {moment:%Y-%m-%dT%H:%M} lies before the market's first decision, "
            f"{pd.Timestamp(instants[0]):%Y-%m-%dT%H:%M}. Choose a later time."
        )
    edge = pd.Timestamp(instants[last], tz="UTC")
    if embargo == AUTO:
        parts = [(part["key"], part["start"], part["stop"], part["shape"]) for part in layout]
        clear = clear_of(market, parts, edge)
    else:
        clear = edge + _read_length(embargo)
    resume = int(np.searchsorted(instants, clear.value, side="left"))
    return Cut(instants.view("datetime64[ns]"), last, resume, embargo)


def _read_length(text: str) -> pd.Timedelta:
    try:
        length = pd.Timedelta(0 if text.strip() == "0" else text)
    except ValueError:
        length = None
    if length is None or pd.isna(length) or length < pd.Timedelta(0):
        raise CommandLineError(f"--embargo {text}: expected auto, 0 or a length such as 12h or 2d.")
    return length


def _choose(
    rows: MarketRows, cut: Cut, task: str, check: Callable[[], object]
) -> tuple[Selection, Selection]:
    """The rows of both parts.

    Raises:
        DatasetError: One of them has none.
    """
    size = rows.size
    before, after, ends = (np.zeros(size, np.bool_) for _ in range(3))
    low, high = len(cut.times), 0
    table = rows.source.scan()
    ends[table.stops - 1] = True
    ends[-1] = bool(rows.source.column("done", size - 1, size)[0])
    for start, stop, here, there in rows.dates(table, task, check):
        before[start:stop], after[start:stop] = there <= cut.last, here >= cut.resume
        low, high = min(low, int(here.min())), max(high, int(there.max()))
    for name, mask in (("first", before), ("second", after)):
        if not mask.any():
            raise DatasetError(
                f"{rows.path}: the {name} part would be empty. Its transitions lie between "
                f"{cut.text(low)} and {cut.text(high)}; the cut is at {cut.text(cut.last)}, and "
                + (
                    f"the embargo ends {cut.text(cut.resume)}."
                    if cut.resume < len(cut.times)
                    else "the embargo reaches beyond the market's end."
                )
                + " Choose another time."
            )
    made = []
    for mask in (before, after):
        goes_on = np.append(mask[1:], False)
        made.append(Selection(rows.source, mask, mask & ~ends & ~goes_on))
    return made[0], made[1]


def _describe(
    source: StoredRows,
    known: dict[str, Any],
    cut: Cut,
    moment: pd.Timestamp,
    number: int,
    selection: Selection,
) -> dict[str, Any] | None:
    """What a part says about itself: its span is that of the collection, up to or from the cut."""
    span = dict(known["span"])
    edge = cut.text((cut.last, cut.resume)[number])
    name, choose = (("end", min), ("start", max))[number]
    span[name] = choose(span[name], edge, key=pd.Timestamp)
    about = describe_edit(
        [source], known | {"span": span}, "split",
        at=moment.isoformat(), embargo=cut.embargo, part=("first", "second")[number],
    )  # fmt: skip
    return about


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m data_tools.split", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="the dataset, of a trading task")
    add("first", type=Path, metavar="FIRST", help="the file to write with what is over at the cut")
    add("second", type=Path, metavar="SECOND",
        help="the file to write with what begins after the embargo")
    add("--at", required=True, metavar="TIME", help="where to cut, UTC")
    add("--embargo", default=AUTO, metavar="LENGTH",
        help="auto: until no window shows a bar from before the cut; or a length such as 12h "
        "(default: %(default)s)")
    # fmt: on
    add_source_flags(parser)
    return parser


def _split_and_tell(**flags: Any) -> str:
    """Split; what is to be said of the parts."""
    lines = []
    for part in split(**flags):
        assert part.provenance is not None
        span = part.provenance["span"]
        lines += [f"{span['start']} to {span['end']}", part.text]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 for bad input, 130 after Ctrl-C."""
    return run_edit(_parser(), _split_and_tell, argv)


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
