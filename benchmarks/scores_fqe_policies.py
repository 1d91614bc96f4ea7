"""Whom fitted Q evaluation judges, see `scores_fqe`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.scores_cell import Cell, Work
from benchmarks.scores_engine import digest_of
from benchmarks.scores_scale import mean_growth
from offline_algos.checkpoint import load_policy
from offline_algos.fitted_q import Settings, refuse_memory

# On 100,000 transitions of reversion-easy-levels, 1,000 to 10,000 steps with 256 or 1,024 rows and
# learning rates of 3e-4 or 1e-3 moved no estimate of three policies
# (medium, expert, one of CQL) by more than 2.5 basis points, where the worst
# and the best policy are 30 apart. Why so few steps are enough: `fitted_q.Settings.pace`.
SETTINGS = Settings(gamma=0.9, updates=3_000, batch_size=256, lr=1e-3, fits=3)
ONLINE = ("medium", "expert")
CHECKPOINT = "policy.pth"


@dataclass(frozen=True)
class Judged:
    """A policy that is to be evaluated, and where.

    Attributes:
        label: Of its row: the method, with what is special about it.
        role: "plain", "raw", "variant", "other data" or "online".
        cluster: What resembles it: its method, or "online".
        seed: Of its training.
        growth: Over the test period.
        checkpoint: Its file, below the benchmark's folder.
        digest: SHA-256 of it.
        dataset: The data, below the benchmark's folder.
        content: Their hash.
        place: The benchmark's folder.
        settings: Of the evaluation.
    """

    label: str
    role: str
    cluster: str
    seed: int
    growth: float
    checkpoint: str
    digest: str
    dataset: str
    content: str
    place: Path
    settings: Settings

    @property
    def name(self) -> str:
        """Of its files."""
        stem = self.dataset.removeprefix("datasets/").removesuffix(".hdf5")
        return f"{stem}/{self.label.replace(' ', '-')}/seed{self.seed}"

    @property
    def result(self) -> Path:
        """The JSON file."""
        return self.place / "fqe" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Why it failed."""
        return self.place / "logs" / "fqe" / f"{self.name}.txt"

    def command(self) -> list[str]:
        """What is asked: another policy, dataset or setting makes another question."""
        settings = json.dumps(asdict(self.settings), sort_keys=True)
        return [self.checkpoint, self.digest, self.dataset, self.content, settings]


def policies_of(
    works: Sequence[Work],
    controls: dict[str, list[dict[str, Any]]],
    task: str,
    kind: str,
    settings: Settings = SETTINGS,
) -> tuple[list[Judged], dict[str, str]]:
    """Whom a task's dataset evaluates.

    Args:
        works: The cells, all tasks'; those that are not done are left out.
        controls: The task's, see `scores_references`.
        task: Its name.
        kind: Of the dataset; of its sizes the largest is taken.
        settings: Of the evaluation.

    Returns:
        Them, and a method's name to why it is left out; nobody where no cell is done. A policy
        whose file is broken or gone is one of them: to evaluate it fails, which is told.
    """
    roles = {work.name: role_of(work.cell, kind) for work in works if work.cell.task == task}
    ready = [work for work in works if roles.get(work.name) and work.is_done]
    plain = [work for work in ready if roles[work.name] == "plain"]
    if not plain:
        return [], {}
    judge = max(plain, key=lambda work: work.cell.size)
    first = min(work.cell.seed for work in plain)
    content = json.loads(judge.result.read_text())["dataset"]["content_hash"]
    data = (f"datasets/{judge.cell.dataset}", content, judge.folder, settings)
    found: list[Judged] = []
    left_out: dict[str, str] = {}
    for work in ready:
        cell, role = work.cell, roles[work.name]
        if cell.size != judge.cell.size or (role != "plain" and cell.seed != first):
            continue
        made = json.loads(work.result.read_text())
        file = f"{made['directory']}/{CHECKPOINT}"
        reason = _reason_to_leave_out(work.folder / file)
        if reason:
            left_out.setdefault(cell.method, reason)
            continue
        label, growth = label_of(cell, kind), made["test"]["best"]["growth"]
        digest = digest_of(work.folder / file)
        found.append(Judged(label, role, cell.method, cell.seed, growth, file, digest, *data))
    for name in ONLINE:
        path = f"datasets/{task}/{name}.pth"
        if name in controls and (judge.folder / path).exists():
            growth, digest = mean_growth(controls[name]), digest_of(judge.folder / path)
            found.append(Judged(name, "online", "online", 0, growth, path, digest, *data))
    return found, left_out


def _reason_to_leave_out(path: Path) -> str:
    """Why fitted Q evaluation is not for a policy; "" where it is, or the file cannot be read."""
    try:
        actor = load_policy(path).actor
    except ValueError:
        return ""
    try:
        refuse_memory(actor)
    except ValueError as error:
        return str(error)
    return ""


def role_of(cell: Cell, kind: str) -> str:
    """What a cell's policy is to a dataset of its task, see `Judged`; "" for nothing."""
    plain = cell.norm_obs and not cell.variant
    if cell.kind != kind:
        return "other data" if plain else ""
    return "plain" if plain else "variant" if cell.variant else "raw"


def label_of(cell: Cell, kind: str) -> str:
    """Of its row."""
    words = [cell.method, cell.variant, "" if cell.norm_obs else "raw"]
    words += [f"of {cell.kind}"] if cell.kind != kind else []
    return " ".join(word for word in words if word)
