"""Which dates choose a checkpoint and which judge it, by the flags.

| flags | validation | test |
|---|---|---|
| none | the first 30% of what follows the data | the rest |
| --test-start T | what lies between the data's end and T | from T on |
| the same, too little before T | the first 30% from T on | the rest |
| --eval-only --test-start T | none | from T on |

Between all of them, and behind the data, is an embargo of the longest window.
"""

from __future__ import annotations

import argparse

from gym_trade import VectorTradeEnv
from offline_algos.origin import Origin
from offline_algos.periods import (
    DATASET_WORDS,
    Period,
    Span,
    Words,
    evaluation_range,
    read_time,
    split,
    split_before,
    whole_range,
)


def training_periods(
    args: argparse.Namespace,
    environment: VectorTradeEnv,
    seen: Span | None,
    *,
    same_market: bool,
    words: Words = DATASET_WORDS,
) -> tuple[Period, Period]:
    """Where a run validates and where it tests.

    Args:
        args: Parsed flags: those of `arguments.add_evaluation`.
        environment: One over the whole market to judge in.
        seen: First decision and last mark of what is learned from; None where it is not known.
        same_market: Whether that was this very market.
        words: How messages call what is learned from.

    Raises:
        PeriodError: No honest period is left.
    """
    first, last = evaluation_range(
        environment, seen, same_market=same_market, start=args.test_start, end=args.test_end,
        allow_overlap=args.allow_overlap, words=words,
    )  # fmt: skip
    if args.test_start is not None:
        found = split_before(environment, seen, first, last, words=words)
        if found is not None:
            return found
        why = f"too little to validate on lies between {words.span} and --test-start"
        if seen is None:
            why = f"{words.span} is not known, nor what of it lies before --test-start"
        elif seen[0] < first < seen[1]:
            why = f"inside {words.span} lies --test-start"
        print(
            f"{why} {args.test_start}: the first 30% from there validate, and the test is the rest"
        )
    return split(environment, first, last, words=words)


def tested_period(args: argparse.Namespace, environment: VectorTradeEnv, origin: Origin) -> Period:
    """Where a checkpoint is tested again, if flags ask for other dates or another market.

    Nothing is validated, so all of them are tested. In the market that it was judged in, a flag
    that is not given means what the checkpoint's own test was.

    Args:
        args: Parsed flags: those of `arguments.add_evaluation`.
        environment: One over the whole market to judge in.
        origin: Of a checkpoint.

    Raises:
        PeriodError: No honest period is left.
    """
    judged, start = origin.evaluation, args.test_start
    assert judged is not None
    found = environment.markets[0].content_hash
    before = judged if (judged.get("market") or {}).get("content_hash") == found else None
    if before is not None and start is None:
        start = before["test"]["start"]
    first, last = evaluation_range(
        environment, origin.collection, same_market=made_in(origin) == found, start=start,
        end=args.test_end, allow_overlap=args.allow_overlap, words=origin.words,
    )  # fmt: skip
    chosen = judged["validation"]
    begin, end = (read_time(chosen[side]) for side in ("start", "end"))
    if first < end and begin < last:
        # a market of another content may be the same one, in a longer file
        flatters = "flatters it" if before is not None else "may flatter it, in another market too"
        print(
            f"note: on dates from {chosen['start']} to {chosen['end']} the checkpoint was "
            f"chosen among others: a test on them {flatters}"
        )
    return whole_range(environment, first, last, words=origin.words)


def made_in(origin: Origin) -> str | None:
    """The content hash of the market that was learned from; None where it is not known."""
    found: str | None = origin.provenance.get("market", {}).get("content_hash")
    return found
