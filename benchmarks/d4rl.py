"""The table of D4RL's own files: method by dataset, with and without observation normalisation.

    python -m benchmarks.d4rl --dataset-dir ~/.d4rl/datasets --seeds 5 --jobs 2

trains every continuous method on every file of the folder whose robot is known (extra `mujoco`),
by the scripts and with their defaults but for --epoch, --update-per-epoch and what follows ``--``,
and prints a Markdown table: D4RL's normalised score and the raw return, mean and deviation over
seeds. What is finished is not run again: each run is a file in --folder.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import statistics
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.markdown import provenance, table
from benchmarks.scores_engine import is_answered, run_jobs
from data_tools import command_line
from data_tools.d4rl_tasks import FAMILIES, default_folder
from data_tools.files import replacing

METHODS = ("il", "bcq", "cql", "crr", "td3_bc", "iql", "dt")
CHECKPOINTS = ("best", "last")
FAILED = 1


@dataclass(frozen=True)
class Job:
    """A run.

    Attributes:
        dataset: D4RL's name of the dataset.
        method: Such as "cql".
        norm_obs: Whether observations are normalised.
        seed: Of the training.
        words: Further flags.
        source: The folder of D4RL's files.
        folder: Where the results go.
    """

    dataset: str
    method: str
    norm_obs: bool
    seed: int
    words: tuple[str, ...]
    source: str
    folder: Path

    @property
    def name(self) -> str:
        """Of its files, below the folder."""
        raw = "" if self.norm_obs else "-raw"
        return f"{self.dataset}/{self.method}{raw}/seed{self.seed}"

    @property
    def result(self) -> Path:
        """The JSON file."""
        return self.folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What the script prints."""
        return self.folder / f"{self.name}.txt"

    def command(self) -> list[str]:
        """The script and its flags."""
        norm = "1" if self.norm_obs else "0"
        words = ["--expert-data-task", self.dataset, "--dataset-dir", self.source]
        words += ["--norm-obs", norm, "--seed", str(self.seed), "--logger", "none"]
        words += ["--logdir", str(self.folder / "runs" / self.name)]
        return [f"d4rl_style_{self.method}", *words, *self.words]

    @property
    def is_done(self) -> bool:
        """Whether its file says the same command."""
        return is_answered(self.result, self.command())


def work(job: Job) -> None:
    """Run a script in this process and keep what it found.

    Raises:
        SystemExit: With 1 after a failure, which the log tells.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    script, *words = job.command()
    with (
        open(job.log, "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            module = importlib.import_module(f"offline_algos.{script}")
            result = module.train(module.make_parser().parse_args(words))
        except Exception:
            traceback.print_exc()
            sys.exit(1)
    saved = Path(result["directory"]) / "result.json"
    made = {
        "command": job.command(),
        "job": {k: v for k, v in asdict(job).items() if k not in ("folder", "source")},
        "returns": {name: result["test"][name]["returns"] for name in CHECKPOINTS},
        "score": json.loads(saved.read_text(encoding="utf-8")).get("normalised_score"),
        "behaviour": result["behavior_return"],
        "seconds": result["seconds"],
        "updates": result["updates"],
        "machine": describe_machine(),
    }
    with replacing(job.result) as temporary:
        temporary.write_text(json.dumps(made, indent=1, allow_nan=False) + "\n")


def datasets_in(folder: str) -> list[str]:
    """D4RL's names of the files in a folder whose robot is known.

    Raises:
        CommandLineError: There are none.
    """
    names = [
        path.stem.replace("_", "-")
        for path in sorted(Path(folder).expanduser().glob("*.hdf5"))
        if path.stem.replace("_", "-").partition("-")[0].lower() in FAMILIES
    ]
    if not names:
        raise command_line.CommandLineError(
            f"--dataset-dir {folder} has no file of {', '.join(FAMILIES)}, such as "
            "halfcheetah_medium-v2.hdf5."
        )
    return names


# --- the table --------------------------------------------------------------------------------


def _spread(values: list[float]) -> str:
    """Mean and deviation over seeds."""
    mean = statistics.fmean(values)
    return f"{mean:.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def results_table(jobs: Sequence[Job]) -> str:
    """Scores and returns of what is done, a row a dataset and method."""
    found: dict[tuple[str, str], dict[bool, list[dict[str, Any]]]] = {}
    for job in jobs:
        if job.is_done:
            cell = found.setdefault((job.dataset, job.method), {})
            cell.setdefault(job.norm_obs, []).append(json.loads(job.result.read_text()))
    rows, commits = [], set()
    for (dataset, method), cell in found.items():
        row = [f"{dataset}: {method}"]
        for norm in (True, False):
            runs = cell.get(norm, [])
            commits |= {run["machine"]["commit"] for run in runs}
            for checkpoint in CHECKPOINTS:
                scores = [run["score"][checkpoint] for run in runs if run["score"]]
                returns = [statistics.fmean(run["returns"][checkpoint]) for run in runs]
                text = f"{_spread(scores)} ({_spread(returns)})" if scores else "-"
                row.append(text)
        rows.append(row)
    for dataset in dict.fromkeys(name for name, _ in found):
        (first, *_) = (run for (name, _), cell in found.items() if name == dataset
                       for runs in cell.values() for run in runs)  # fmt: skip
        score, value = (first["score"] or {}).get("behavior"), first["behaviour"]
        known = score is not None and value is not None
        rows.append([f"{dataset}: *behaviour*", f"{score:.1f} ({value:.1f})" if known else "-",
                     "-", "-", "-"])  # fmt: skip
    rows.sort(key=lambda row: row[0].split(":")[0])
    header = ["dataset: method", "best on validation", "last", "raw observations: best", "last"]
    more = (
        "D4RL's normalised score and, in brackets, the return: mean ± deviation over seeds "
        f"{sorted({job.seed for job in jobs})}; the references were measured on the v2 tasks, "
        f"the policies on Gymnasium's v5; runs of commit {', '.join(sorted(commits))}."
    )
    return table(header, rows) + "\n\n" + provenance({"machine": describe_machine()}, more)


# --- the command line -------------------------------------------------------------------------


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

        def told(name: str, text: str) -> None:
            print(f"{name}: {text}", file=sys.stderr, flush=True)

        outcome = run_jobs(work, waiting, engine=args.engine, workers=args.jobs, say=told)
        for name, text in outcome.failed.items():
            told(name, f"{text}; see {args.folder / (name + '.txt')}")
        failed = bool(outcome.failed)
        if any(job.is_done for job in jobs):
            print(results_table(jobs))

    stopped = "interrupted: the same command goes on with what is missing."
    return command_line.run(command, interrupted=stopped) or (FAILED if failed else 0)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
