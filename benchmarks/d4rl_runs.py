"""The runs of `benchmarks.d4rl`: a method on a dataset of D4RL, once."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.scores_engine import is_answered
from benchmarks.scores_log import logged
from data_tools import command_line
from data_tools.d4rl_tasks import FAMILIES
from data_tools.files import replacing
from offline_algos import d4rl_style_il
from offline_algos.datasets import open_dataset
from offline_algos.tasks import open_task

METHODS = ("il", "bcq", "cql", "crr", "td3_bc", "iql", "dt")
CHECKPOINTS = ("best", "last")


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
    with logged(job.log, job.result):
        _train(job)


def _train(job: Job) -> None:
    script, *words = job.command()
    module = importlib.import_module(f"offline_algos.{script}")
    result = module.train(module.make_parser().parse_args(words))
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
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise command_line.CommandLineError(
            f"--dataset-dir {folder} is no folder: expected that of D4RL's files."
        )
    found = (path.stem.replace("_", "-") for path in sorted(place.glob("*.hdf5")))
    names = [name for name in found if name.partition("-")[0].lower() in FAMILIES]
    if not names:
        raise command_line.CommandLineError(
            f"--dataset-dir {folder} has no file of {', '.join(FAMILIES)}, such as "
            "halfcheetah_medium-v2.hdf5."
        )
    return list(dict.fromkeys(names))


def check_flags(jobs: Sequence[Job]) -> None:
    """See that flags are those of a script at least, before any of them is started.

    Args:
        jobs: All of them. Flags that some methods lack are theirs to refuse.

    Raises:
        CommandLineError: No method takes them.
    """
    wrong: dict[str, command_line.CommandLineError] = {}
    methods = {job.method: job for job in jobs}
    for method, job in methods.items():
        script, *words = job.command()
        try:
            importlib.import_module(f"offline_algos.{script}").make_parser().parse_args(words)
        except command_line.CommandLineError as error:
            wrong[method] = error
    if wrong and len(wrong) == len(methods):
        raise next(iter(wrong.values()))


def check_datasets(jobs: Sequence[Job]) -> None:
    """Open the datasets of jobs, and the tasks that they are tested in, before one is run.

    Args:
        jobs: Those that are to be run. Flags that some methods lack are theirs to refuse.

    Raises:
        CommandLineError: A dataset cannot be read, or does not fit its task.
    """
    for job in {job.dataset: job for job in jobs}.values():
        words = ["--expert-data-task", job.dataset, "--dataset-dir", job.source, *job.words]
        args, _ = d4rl_style_il.make_parser().parse_known_args(words)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                open_task(args, open_dataset(args, continuous=True).origin)
        except ValueError as error:
            raise command_line.CommandLineError(
                f"dataset {job.dataset}: {error} To leave it out name the others with --datasets."
            ) from error
