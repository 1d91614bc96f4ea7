"""What is to be made, in which order, by which commands: from the configuration alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from benchmarks.suite_config import (
    MEDIUM_SHARE,
    MIXED_OF,
    TaskSets,
    seed_of,
    size_name,
    with_flags,
)

WORK = ".work"  # runs and logs; gone once everything is made
UNKNOWN = "EPOCH"  # in the command of a medium policy whose expert is not trained yet


@dataclass(frozen=True)
class Step:
    """A file of the suite.

    Attributes:
        path: The file, below the suite's folder.
        task: Its task.
        kind: "expert", "medium" or the kind of dataset.
        size: Transitions; None for a policy.
        seed: Seed of the command.
        needs: Files that must be there before.
    """

    path: str
    task: TaskSets
    kind: str
    size: int | None
    seed: int
    needs: tuple[str, ...] = ()

    @property
    def is_policy(self) -> bool:
        """Whether it is trained, instead of recorded."""
        return self.size is None

    @property
    def log_folder(self) -> str:
        """Where the run that trains it lies, and what its commands print."""
        return f"{WORK}/{self.path.replace('/', '-').removesuffix('.pth')}"

    def command(self, manifest: dict[str, Any]) -> list[str]:
        """The words after ``python -m``, to be run in the suite's folder.

        Args:
            manifest: What is made so far: a medium policy depends on how its expert learned.
        """
        if self.is_policy:
            return self._training(manifest)
        task, rows = self.task, ["--buffer-size", str(self.size), "--seed", str(self.seed)]
        rows += ["--save-buffer-name", self.path]
        if self.kind == "mixed":
            return ["benchmarks.mix", *self.needs, *rows]
        if self.kind in ("medium", "expert"):
            acting = ["--watch", "--resume-path", self.needs[0], "--eps-test", f"{task.epsilon:g}"]
            return [f"offline_algos.{task.script}", *acting, "--device", "cpu", *rows]
        policy = ["--policy", "random"]
        if self.kind == "rule-based":
            policy = ["--policy", task.rule, "--epsilon", f"{task.epsilon:g}"]
        module = "benchmarks.record_task" if task.market is None else "data_tools.collect"
        return [module, "--task", task.task, *task.environment, *policy, *rows]

    def _training(self, manifest: dict[str, Any]) -> list[str]:
        task = self.task
        budget = task.training
        if self.kind == "medium":
            expert = manifest["policies"].get(self.needs[0])
            epoch = UNKNOWN if expert is None else str(medium_epoch(expert)[0])
            budget = with_flags(budget, ("--epoch", epoch))
        words = [f"offline_algos.{task.script}", "--task", task.task, *task.environment]
        words += [*budget, "--seed", str(self.seed), "--device", "cpu", "--threads", "1"]
        return [*words, "--logger", "none", "--logdir", self.log_folder]


def medium_epoch(expert: dict[str, Any]) -> tuple[int, float]:
    """After which epoch the expert's training was medium; see `suite_config.MEDIUM_SHARE`.

    Args:
        expert: What the manifest says about the expert.

    Returns:
        (The epoch, and the validation return that it is nearest to.)
    """
    returns, best = expert["validation_returns"][1:], expert["epoch"]
    aim = expert["floor"] + MEDIUM_SHARE * (returns[best - 1] - expert["floor"])
    earlier = returns[: max(best - 1, 1)]
    return min(range(len(earlier)), key=lambda i: abs(earlier[i] - aim)) + 1, aim


def make_plan(
    tasks: Sequence[TaskSets], kinds: Sequence[str], sizes: Sequence[int], seed: int
) -> list[Step]:
    """All files, each after those that it needs.

    What a mixed set is made of is made as well, and the policies.
    """
    wanted = {*kinds, *(MIXED_OF if "mixed" in kinds else ())}
    return [step for task in tasks for step in _of_task(task, wanted, sizes, seed)]


def _of_task(task: TaskSets, kinds: set[str], sizes: Sequence[int], seed: int) -> Iterator[Step]:
    def path(name: str) -> str:
        return str(PurePosixPath(task.name) / name)

    expert, medium = path("expert.pth"), path("medium.pth")
    if kinds & {"medium", "expert"}:
        yield Step(expert, task, "expert", None, seed)
    if "medium" in kinds:
        yield Step(medium, task, "medium", None, seed, (expert,))
    for size in sizes:
        files = {kind: path(f"{kind}-{size_name(size)}.hdf5") for kind in kinds}
        needs: dict[str, tuple[str, ...]] = {
            "expert": (expert,),
            "medium": (medium,),
            "mixed": tuple(files.get(kind, "") for kind in MIXED_OF),
        }
        for kind in ("random", "rule-based", "medium", "expert", "mixed"):
            if kind in kinds:
                where = seed_of(kind, size, seed)
                yield Step(files[kind], task, kind, size, where, needs.get(kind, ()))
