"""The table of D4RL's own files: method by dataset, with and without observation normalisation.

    python -m benchmarks.d4rl --dataset-dir ~/.d4rl/datasets --seeds 5 --jobs 2

trains every continuous method on every file of the folder whose robot is known (extra `mujoco`),
by the scripts and with their defaults but for --epoch, --update-per-epoch and what follows ``--``,
and prints a Markdown table: D4RL's normalised score and the raw return, mean and deviation over
seeds; the same numbers go into d4rl.json in --folder. What is finished is not run again: each run
is a file there.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from benchmarks.d4rl_runs import METHODS, Job, check_datasets, check_flags, datasets_in, work
from benchmarks.d4rl_tables import gather, results_table
from benchmarks.machine import write_result
from benchmarks.scores_engine import run_jobs
from data_tools import command_line
from data_tools.d4rl_tasks import default_folder

FAILED = 1


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="python -m benchmarks.d4rl", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("--dataset-dir", metavar="FOLDER", help="of D4RL's files (default: ~/.d4rl/datasets)")
    add("--datasets", nargs="+", metavar="NAME", help="some of them (default: all)")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD",
        help=f"of {', '.join(METHODS)} (default: all)")
    add("--seeds", type=int, default=5, help="default: %(default)s")
    add("--epoch", type=int, default=100, help="default: %(default)s")
    add("--update-per-epoch", type=int, default=10_000, help="default: %(default)s")
    add("--norm-obs", choices=("1", "0", "both"), default="both", help="default: %(default)s")
    add("--folder", type=Path, default=Path("d4rl"), help="default: %(default)s/")
    add("--engine", choices=("local", "ray"), default="local", help="default: %(default)s")
    add("--jobs", type=int, metavar="N", help="runs at once (default: 1; with Ray all cores)")
    add("words", nargs="*", metavar="FLAG", help="after --: flags for all scripts")
    # fmt: on
    return parser


def jobs_of(args: Any) -> list[Job]:
    """All runs that the flags ask for.

    Raises:
        CommandLineError: A dataset is not there, or a number is below 1.
    """
    if min(args.seeds, args.epoch, args.update_per_epoch) < 1:
        raise command_line.CommandLineError(
            "expected --seeds, --epoch and --update-per-epoch of at least 1."
        )
    source = args.dataset_dir or default_folder()
    there = datasets_in(source)
    for name in args.datasets or []:
        if name not in there:
            raise command_line.CommandLineError(
                f"--datasets {name}: {source} has {', '.join(there)}."
            )
    budget = ("--epoch", str(args.epoch), "--update-per-epoch", str(args.update_per_epoch))
    norms = {"1": [True], "0": [False], "both": [True, False]}[args.norm_obs]
    place = str(Path(source).expanduser().resolve())
    return [
        Job(name, method, norm, seed, (*budget, *args.words), place, args.folder.resolve())
        for seed, name, method, norm in itertools.product(
            range(args.seeds), args.datasets or there, args.methods, norms
        )
    ]


def main(argv: list[str] | None = None) -> int:
    """The command line: 0, 1 where a run failed, 2 for bad input, 130 after Ctrl-C."""
    failed = False

    def command() -> None:
        nonlocal failed
        args = _parser().parse_args(argv)
        jobs = jobs_of(args)
        waiting = [job for job in jobs if not job.is_done]
        check_flags(jobs)
        check_datasets(waiting)

        def told(name: str, text: str) -> None:
            print(f"{name}: {text}", file=sys.stderr, flush=True)

        outcome = run_jobs(work, waiting, engine=args.engine, workers=args.jobs, say=told)
        for name, text in outcome.failed.items():
            told(name, f"{text}; see {args.folder / (name + '.txt')}")
        failed = bool(outcome.failed)
        result = gather(jobs)
        if result["rows"]:
            print(results_table(result))
            print(f"\n{write_result('d4rl', result, args.folder)}")

    stopped = "interrupted: the same command goes on with what is missing."
    return command_line.run(command, interrupted=stopped) or (FAILED if failed else 0)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
