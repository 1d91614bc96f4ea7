"""Join datasets of one task into one, all rows of each, one behind the other.

They must be of the same task, market, observations, actions and columns, and in the same layout;
what differs is named. The result was collected where any of them was: a policy trained on it is not
evaluated there.

Example: random.hdf5 rule.hdf5 --save-buffer-name both.hdf5
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from data_tools.command_line import ArgumentParser, terminate_cleanly
from data_tools.edit_command import add_source_flags, run_edit
from data_tools.editing import (
    EDITED,
    OF_FILES,
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
from data_tools.flat_layout import DatasetError
from data_tools.stored_rows import StoredRows
from gym_trade import Market

NAME = "merged"
# Which stretch of a market is used, as the span says it better.
_DATES = ("start", "end")
_OF_ONE_COLLECTION = ("seed", "num_envs")
_LONGEST_TEXT = 60


def merge(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    market: Market | str | None = None,
    features: Any = None,
    overwrite: bool = False,
    progress: bool = False,
    check: Callable[[], object] = nothing,
) -> Edited:
    """Write all rows of several datasets, in their layout.

    An episode that is unfinished at a source's end is marked truncated there.

    Args:
        sources: The datasets, in the order of their rows.
        target: The file to write.
        market: Of indexed datasets, as for `market_windows.open_windows`.
        features: As for `market_windows.open_windows`.
        overwrite: Replace an existing target.
        progress: Show a progress bar on stderr.
        check: Called once in a while; may raise.

    Raises:
        DatasetError: A file cannot be read or written, or the datasets are not alike.
    """
    places, goal = [Path(source) for source in sources], Path(target)
    if len(places) < 2:
        raise DatasetError(f"{len(places)} dataset to merge. Expected two or more.")
    for number, place in enumerate(places):
        if any(place.exists() and e.exists() and place.samefile(e) for e in places[:number]):
            raise DatasetError(f"{place} is named twice. Its rows would count twice; name it once.")
    check_target(goal, places, overwrite)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(open_source(p, market, features)) for p in places]
        for other in opened[1:]:
            refuse_unlike(opened[0], other)
        for each in opened:
            each.scan()  # refuses contradicting flags before anything is written
        about = _describe_merge(opened)
        rows = sum(each.size for each in opened)
        bar = stack.enter_context(progress_bar(rows, progress))
        widest = max(opened, key=lambda each: each.stored_action.itemsize)
        writer = stack.enter_context(widest.writer(goal, rows, widest.extra, overwrite))
        scan = write_selections(writer, [Selection.whole(each) for each in opened], check, bar)
        episodes = scan.table().summary(longest_episode(about))
        made = with_episodes(about, rows, episodes, same=_same_references(opened))
        writer.finish(made)
    return Edited(goal, rows, episodes, made)


def refuse_unlike(first: StoredRows, other: StoredRows) -> None:
    """Refuse datasets whose rows cannot lie in one file, or are not of one task.

    Raises:
        DatasetError: They differ; the message says in what.
    """
    facts = [_facts(each) for each in (first, other)]
    for name in {**facts[0], **facts[1]}:
        values = [each.get(name) for each in facts]
        if values[0] != values[1]:
            shown = [_shown(value) for value in values]
            raise DatasetError(
                f"{other.path} and {first.path} differ in {name}: {shown[1]} and {shown[0]}. "
                "Expected datasets of one task, market, layout and set of columns."
            )


def _facts(source: StoredRows) -> dict[str, Any]:
    """What merged datasets must agree on, by names for messages."""
    made: dict[str, Any] = {
        "layout (full or indexed)": source.layout,
        "provenance": "none" if source.provenance is None else "some",
    }
    known = source.provenance or {}
    made["task"] = known.get("task")
    made["market (content hash)"] = known.get("market", {}).get("content_hash")
    for name in ("layout", "action", "frame_stack"):
        made[f"what the provenance says of {name}"] = known.get(name)
    for name, value in known.get("config", {}).items():
        if name not in _DATES:
            made[f"the environment's {name}"] = value
    for name in ("obs", "act", "rew"):
        shape, dtype = source.spec(name)
        made[f"the type of {name}"] = f"{_kind(dtype)} {tuple(shape)}"
    made["frames stacked"] = source.dataset.stack_num
    made["columns"] = {name: f"{d} {tuple(s)}" for name, (s, d) in sorted(source.extra.items())}
    return made


def _kind(dtype: Any) -> str:
    return "record" if dtype.names else str(dtype)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _describe_merge(sources: Sequence[StoredRows]) -> dict[str, Any] | None:
    """As `describe_edit`; what the collections do not have in common is said of each source."""
    about = describe_edit(sources, _join(sources), "merge")
    if about is not None:
        for made, source in zip(about[EDITED]["sources"], sources, strict=True):
            known = source.provenance or {}
            made |= {name: known[name] for name in _OF_ONE_COLLECTION if name in known}
    return about


def _join(sources: Sequence[StoredRows]) -> dict[str, Any] | None:
    """What the sources say about themselves, together."""
    known = [each.provenance for each in sources if each.provenance is not None]
    if not known:
        return None
    left_out = (*OF_FILES, *_OF_ONE_COLLECTION, EDITED)
    made = {name: value for name, value in known[0].items() if name not in left_out}
    made["policy"] = _join_policies([each["policy"] for each in known])
    if "span" in made:
        made["span"] = {
            "start": min((each["span"]["start"] for each in known), key=pd.Timestamp),
            "end": max((each["span"]["end"] for each in known), key=pd.Timestamp),
        }
        dates = {
            name: made["config"].get(name)
            if len({each["config"].get(name) for each in known}) == 1
            else None
            for name in _DATES
        }
        made["config"] = made["config"] | dates
    return made


def _join_policies(policies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The policies that made the rows: one, or a mixture of all their members."""
    if all(policy == policies[0] for policy in policies):
        return policies[0]
    members: list[dict[str, Any]] = []
    for policy in policies:
        noise = {"epsilon": policy["epsilon"]} if "epsilon" in policy else {}
        for member in policy.get("members", [policy]):
            if member | noise not in members:
                members.append(member | noise)
    return {"name": NAME, "drawn": "all episodes of each dataset", "members": members}


def _same_references(sources: Sequence[StoredRows]) -> bool:
    """Whether simple policies were measured over one and the same stretch."""
    known = [each.provenance or {} for each in sources]
    return all(
        each.get("span") == known[0].get("span")
        and each.get("reference", {}).get("returns") == known[0].get("reference", {}).get("returns")
        for each in known
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m data_tools.merge", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="SOURCE", help="the datasets, two or more")
    add("--save-buffer-name", dest="target", required=True, type=Path, metavar="FILE",
        help="the file to write")
    # fmt: on
    add_source_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 for bad input, 130 after Ctrl-C."""
    return run_edit(_parser(), lambda **flags: merge(**flags).text, argv)


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
