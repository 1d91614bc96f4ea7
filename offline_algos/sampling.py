"""How batches reach the updates: by priorities, ahead of time, from one device to another."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tianshou.trainer import OfflineTrainer

from data_tools.priorities import Priorities, PrioritisedBuffer
from offline_algos.flag_types import device, number, whole
from offline_algos.prefetch import BatchesAhead, MovedBatches
from offline_algos.transfer import Transfer

Group = argparse._ArgumentGroup
ALPHA, BETA = 0.6, 0.4  # the paper's, of its proportional variant
OF_PRIORITIES = ("priority_alpha", "priority_beta", "priority_beta_steps")


def add_source(group: Group) -> None:
    """Add the flags of where a dataset lies, and of when batches are drawn from it."""
    group.add_argument(
        "--data-device",
        type=device,
        help="where the dataset is to live (default: that of --device); cpu keeps it in the host's "
        "memory and copies batches to the GPU",
    )
    group.add_argument(
        "--mmap",
        type=int,
        choices=(0, 1),
        default=0,
        help="leave decisions and accounts of an indexed dataset in its file, mapped into memory: "
        "for more transitions than fit (default %(default)s)",
    )
    group.add_argument(
        "--prefetch",
        type=whole(0),
        default=0,
        metavar="N",
        help="batches that a thread draws ahead, the same ones in the same order: worth a core "
        "where batches come from a file or go to a GPU; 0: none (default %(default)s)",
    )


def add_priorities(parser: argparse.ArgumentParser) -> None:
    """Add the flags of prioritised sampling, to methods whose updates give errors back."""
    group = parser.add_argument_group("prioritised sampling")
    group.add_argument(
        "--prioritized",
        type=int,
        choices=(0, 1),
        default=0,
        help="draw transitions by their temporal-difference error (Schaul et al. 2016), and weight "
        "all losses accordingly (default %(default)s)",
    )
    group.add_argument(
        "--priority-alpha",
        type=number(0.0),
        metavar="A",
        help=f"with it: 0 draws evenly, 1 in proportion to errors (default {ALPHA})",
    )
    group.add_argument(
        "--priority-beta",
        type=number(0.0, 1.0),
        metavar="B",
        help="with it: share of the correction by weights in the beginning; it rises evenly to 1 "
        f"(default {BETA})",
    )
    group.add_argument(
        "--priority-beta-steps",
        type=whole(0),
        metavar="N",
        help="with it: gradient steps until then (default: those of the run)",
    )


def settle(args: argparse.Namespace, steps: int) -> None:
    """Check the flags against each other, and fill in what follows from others.

    Args:
        args: Parsed flags, of an offline or an online script.
        steps: Gradient steps of the run.

    Raises:
        ValueError: They contradict each other.
    """
    if hasattr(args, "prioritized"):
        _settle_priorities(args, steps)
    if not hasattr(args, "data_device"):
        return
    args.data_device = args.data_device or args.device
    if args.data_device not in ("cpu", args.device):
        raise ValueError(
            f"--data-device {args.data_device}: batches go from cpu to --device {args.device}, or "
            "stay there. Pass one of the two."
        )
    if args.mmap and args.data_device != "cpu":
        raise ValueError(
            f"--mmap 1 leaves the dataset on disk, and --data-device {args.data_device} copies it "
            "to the GPU. Pass --data-device cpu, or leave --mmap out."
        )
    if args.prefetch and getattr(args, "prioritized", 0):
        raise ValueError(
            "--prefetch draws batches before the priorities are known that --prioritized 1 draws "
            "by. Leave one of them out."
        )


def _settle_priorities(args: argparse.Namespace, steps: int) -> None:
    given = [name for name in OF_PRIORITIES if getattr(args, name) is not None]
    if given and not args.prioritized:
        raise ValueError(f"--{given[0].replace('_', '-')} belongs to --prioritized 1.")
    if args.prioritized:
        for name, value in zip(OF_PRIORITIES, (ALPHA, BETA, steps), strict=True):
            setattr(args, name, getattr(args, name) if name in given else value)


def make_priorities(flags: Mapping[str, Any], rows: int, filled: int | None = None) -> Priorities:
    """Priorities of rows as the flags say."""
    return Priorities(
        rows,
        alpha=flags["priority_alpha"],
        beta=flags["priority_beta"],
        steps=flags["priority_beta_steps"],
        filled=filled,
    )


@contextmanager
def arranged(trainer: OfflineTrainer, flags: Mapping[str, Any]) -> Iterator[None]:
    """Have a trainer draw its batches as the flags say, while the block runs.

    Without those flags nothing is put between the trainer and its buffer.
    """
    plain = made = trainer._buffer
    if flags.get("prioritized"):
        made = PrioritisedBuffer(plain, make_priorities(flags, len(plain)))
    moves = flags.get("data_device", flags.get("device")) != flags.get("device")
    transfer = Transfer(flags["device"]) if moves else None
    ahead = None
    if flags.get("prefetch"):
        made = ahead = BatchesAhead(made, flags["prefetch"], transfer)
    elif transfer is not None:
        made = MovedBatches(made, transfer)
    trainer._buffer = made
    try:
        yield
    finally:
        trainer._buffer = plain
        if ahead is not None:
            ahead.close()
