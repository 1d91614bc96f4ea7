"""Take a part of a dataset, in whole episodes.

Episodes are drawn at random, or the best ones by return are taken, until their transitions are the
share that is asked for; they stay in the order that they had. Which ones is the seed's to say.

Examples: trades.hdf5 tenth.hdf5 --fraction 0.1 --seed 0
          trades.hdf5 best.hdf5 --fraction 0.1 --by return
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from data_tools.episode_scan import EpisodeTable
from data_tools.flat_layout import DatasetError
from data_tools.stored_rows import COUNTERFACTUAL, StoredRows
from gym_trade import Market

RANDOM, RETURN = "random", "return"


def subset(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    fraction: float | None = None,
    transitions: int | None = None,
    by: str = RANDOM,
    seed: int = 0,
    market: Market | str | None = None,
    features: Any = None,
    overwrite: bool = False,
    progress: bool = False,
    check: Callable[[], object] = nothing,
) -> Edited:
    """Write some of a dataset's episodes, in the layout that it has.

    Args:
        source: The dataset, of either layout.
        target: The file to write.
        fraction: Share of the transitions, in (0, 1]: episodes are taken until theirs are as many.
        transitions: Or how many, exactly: the last episode taken is cut, and marked truncated.
        by: "random", or "return": the episodes that earned most come first. The best 10% of the
            timesteps by return are what Chen et al. 2021 (arXiv:2106.01345) imitate as 10% BC.
        seed: Which episodes are drawn.
        market: Of an indexed dataset, as for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        overwrite: Replace an existing target.
        progress: Show a progress bar on stderr.
        check: Called once in a while; may raise.

    Raises:
        ValueError: An argument is out of range, or a file cannot be read or written
            (`hdf5.DatasetError`).
    """
    _check_arguments(fraction, transitions, by, seed)
    place, goal = Path(source), Path(target)
    check_target(goal, [place], overwrite)
    with open_source(place, market, features) as opened:
        if by == RETURN and COUNTERFACTUAL in opened.extra:
            raise DatasetError(
                f"{place} has counterfactual transitions, each an episode of one step, whose "
                "returns say nothing beside those of whole episodes. Draw at random."
            )
        table = opened.scan()
        wanted = _wanted(place, opened.size, fraction, transitions)
        selection = _choose(opened, table, wanted, transitions is not None, by, seed)
        asked = {"fraction": fraction} if transitions is None else {"transitions": transitions}
        about = describe_edit(
            [opened], opened.provenance, "subset",
            **asked, order=by, **({"seed": seed} if by == RANDOM else {}),
        )  # fmt: skip
        rows = selection.rows
        with (
            opened.writer(goal, rows, opened.extra, overwrite) as writer,
            progress_bar(rows, progress) as bar,
        ):
            scan = write_selections(writer, [selection], check, bar)
            episodes = scan.table().summary(longest_episode(about))
            made = with_episodes(about, rows, episodes)
            writer.finish(made)
    return Edited(goal, rows, episodes, made)


def _check_arguments(fraction: float | None, transitions: int | None, by: str, seed: int) -> None:
    if (fraction is None) == (transitions is None):
        raise CommandLineError("expected either --fraction or --transitions.")
    if fraction is not None and not 0.0 < fraction <= 1.0:
        raise CommandLineError(f"--fraction {fraction}: expected a number in (0, 1].")
    if transitions is not None and transitions < 1:
        raise CommandLineError(f"--transitions {transitions}: expected a whole number >= 1.")
    if by not in (RANDOM, RETURN):
        raise CommandLineError(f"--by {by}: expected {RANDOM} or {RETURN}.")
    if seed < 0:
        raise CommandLineError(f"--seed {seed}: expected a whole number >= 0.")


def _wanted(place: Path, size: int, fraction: float | None, transitions: int | None) -> int:
    if transitions is None:
        return max(1, math.ceil(round((fraction or 0.0) * size, 6)))
    if transitions > size:
        raise DatasetError(
            f"{place} has {size} transitions and is to give {transitions}: make it larger, or ask "
            "for fewer."
        )
    return transitions


def _choose(
    source: StoredRows, table: EpisodeTable, wanted: int, exact: bool, by: str, seed: int
) -> Selection:
    """The rows of the first episodes, in the order of `by`, that are as many as wanted."""
    if by == RETURN:
        order = np.argsort(-table.returns, kind="stable")
    else:
        order = np.random.default_rng(seed).permutation(len(table.lengths))
    reached = np.cumsum(table.lengths[order])
    count = int(np.searchsorted(reached, wanted)) + 1
    chosen = order[:count]
    selection = Selection.whole(source)
    taken = np.zeros(len(table.lengths), np.bool_)
    taken[chosen] = True
    selection.keep[:] = np.repeat(taken, table.lengths)
    over = int(reached[count - 1]) - wanted
    if exact and over > 0:
        stop = int(table.stops[chosen[-1]])
        selection.keep[stop - over : stop] = False
        selection.cut[stop - over - 1] = True
    return selection


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m data_tools.subset", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="the dataset")
    add("target", type=Path, metavar="TARGET", help="the file to write")
    add("--fraction", type=float, metavar="F",
        help="share of the transitions, such as 0.1: whole episodes, until theirs are as many")
    add("--transitions", type=int, metavar="N",
        help="how many transitions, exactly: the last episode is cut and marked truncated")
    add("--by", choices=(RANDOM, RETURN), default=RANDOM,
        help="random: drawn by lot; return: the episodes that earned most (default: %(default)s)")
    add("--seed", type=int, default=0, help="which episodes are drawn (default: %(default)s)")
    # fmt: on
    add_source_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 for bad input, 130 after Ctrl-C."""
    return run_edit(_parser(), lambda **flags: subset(**flags).text, argv)


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
