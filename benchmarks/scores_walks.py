"""Trained policies and controls walked again, at other fees and target returns: a job, a file."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.reversion_optimum import Optimum
from benchmarks.scores_cell import growth
from benchmarks.scores_engine import digest_of, is_answered
from benchmarks.scores_log import logged
from benchmarks.scores_references import optimum_of_task
from benchmarks.scores_text import BASIS_POINTS
from data_tools.files import replacing
from data_tools.policies import PolicyError
from offline_algos import atari_style_il
from offline_algos.checkpoint import TrainedPolicy, load_policy
from offline_algos.evaluation import evaluate, evaluate_rule
from offline_algos.origin import checkpoint_origin
from offline_algos.tasks import Task, open_task
from offline_algos.transformer_actor import TransformerActor, with_target

WAYS = ("again", "once")  # of asking for a return
Answer = dict[str, Any]


@dataclass(frozen=True)
class Job(ABC):
    """What one process walks; its answer is a file.

    Attributes:
        name: Of the file, below the folder's ``sweeps``.
        folder: The benchmark's.
        checkpoint: Below it: the policy, or one that was judged in the same task.
    """

    name: str
    folder: Path
    checkpoint: str

    @property
    def result(self) -> Path:
        """The answer's file."""
        return self.folder / "sweeps" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Why it failed."""
        return self.folder / "logs" / "sweeps" / f"{self.name}.txt"

    @property
    def is_done(self) -> bool:
        """Whether its file answers this very question."""
        return is_answered(self.result, self.command())

    @abstractmethod
    def command(self) -> list[str]:
        """Everything that the answer depends on."""

    @abstractmethod
    def answer(self) -> Answer:
        """Walk: JSON-able."""

    def _open(self) -> tuple[TrainedPolicy, Task]:
        """The policy, and the task with the period that it was tested in."""
        path = self.folder / self.checkpoint
        policy = load_policy(path)
        # of a parser only what says where to judge is read, and it is left as it was
        args = atari_style_il.make_parser().parse_args(["--load-buffer-name", "none"])
        task = open_task(args, checkpoint_origin(policy.about, str(path)))
        assert isinstance(task, Task)
        return policy, task


def run(job: Job) -> None:
    """Write a job's answer; what is printed goes into its log.

    Raises:
        SystemExit: With 1 after a failure, which the log tells.
    """
    with logged(job.log, job.result):
        torch.set_num_threads(1)
        made = {"command": job.command(), **job.answer()}
        with replacing(job.result) as temporary:
            temporary.write_text(json.dumps(made, allow_nan=False) + "\n")


def measured(outcome: dict[str, Any]) -> Answer:
    """What is kept of a walk; growth is a decision's, of which a rollout has several."""
    return {
        "growth": growth(outcome["equity"]) * (outcome["steps"] / outcome["decisions"]),
        "turnover": outcome["metrics"]["turnover"],
        "bankrupt": outcome["terminated"],
    }


# --- costs ------------------------------------------------------------------------------------


def at_fee(task: Task, fee_bp: float) -> tuple[Any, str, str]:
    """Configuration and test period, as walks take them, at another fee in basis points."""
    config = task.config.replace(transaction_fee=fee_bp / BASIS_POINTS)
    return config, task.test.start, task.test.end


@dataclass(frozen=True)
class PolicyAtFees(Job):
    """A checkpoint at several fees.

    Attributes:
        fees: Basis points.
    """

    fees: tuple[float, ...]

    def command(self) -> list[str]:
        """See `Job.command`."""
        return ["fees", self.checkpoint, *map(str, self.fees)]

    def answer(self) -> Answer:
        """``trained_bp``, and a walk for each fee."""
        policy, task = self._open()
        walks = [evaluate(policy.act, *at_fee(task, fee), listener=policy.actor)
                 for fee in self.fees]  # fmt: skip
        return {
            "trained_bp": BASIS_POINTS * task.config.transaction_fee,
            "walks": [measured(walk) for walk in walks],
        }


@dataclass(frozen=True)
class ControlsAtFees(Job):
    """The controls of a task at several fees.

    Attributes:
        fees: Basis points.
        rule: The suite's.
        expert: The online policy, below the folder; it need not be there. One that was made
            again makes another question.
    """

    fees: tuple[float, ...]
    rule: str
    expert: str

    def command(self) -> list[str]:
        """See `Job.command`."""
        digest = digest_of(self.folder / self.expert)
        return ["controls", self.checkpoint, self.rule, self.expert, digest, *map(str, self.fees)]

    def answer(self) -> Answer:
        """``walks``, control to a walk for each fee; ``optimum``, its gain at each, or None."""
        _, task = self._open()
        expert, walks = self.folder / self.expert, dict[str, list[Answer]]()
        for name, rule in (("flat",) * 2, ("buy-and-hold",) * 2, ("rule", self.rule)):
            # brackets cannot follow all of them
            with contextlib.suppress(PolicyError):
                walks[name] = self._rules(task, [rule] * len(self.fees))
        if expert.exists():
            policy = load_policy(expert)
            walks["expert"] = [
                measured(evaluate(policy.act, *at_fee(task, fee), listener=policy.actor))
                for fee in self.fees
            ]
        kept, best = optimum_of_task(task), self._optima(task)
        if kept is not None:
            walks["optimum"] = self._rules(task, [found.policy for found in best])
            walks["optimum-kept"] = self._rules(task, [kept.policy] * len(self.fees))
        return {
            "walks": walks,
            "optimum": [{"gain": x.gain, "trades": x.policy != "flat"} for x in best] or None,
        }

    def _rules(self, task: Task, rules: Sequence[str]) -> list[Answer]:
        walks = [evaluate_rule(rule, *at_fee(task, fee))
                 for rule, fee in zip(rules, self.fees, strict=True)]  # fmt: skip
        return [measured(walk) for walk in walks]

    def _optima(self, task: Task) -> list[Optimum]:
        found = [optimum_of_task(replace(task, config=at_fee(task, fee)[0])) for fee in self.fees]
        return [best for best in found if best is not None]


# --- targets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PolicyAtTargets(Job):
    """A Decision Transformer asked for several returns.

    Attributes:
        multiples: Of the return that the checkpoint asks for by itself, and was chosen at.
    """

    multiples: tuple[float, ...]

    def command(self) -> list[str]:
        """See `Job.command`."""
        return ["targets", self.checkpoint, *map(str, self.multiples)]

    def answer(self) -> Answer:
        """``targets``, ``episode_steps``, and for each way of asking a walk for each target."""
        policy, task = self._open()
        assert isinstance(policy.actor, TransformerActor)
        steps = int(policy.actor.network.arguments["longest"])
        targets = [multiple * policy.actor.target_return for multiple in self.multiples]
        return {
            "targets": targets,
            "episode_steps": steps,
            **{way: [_ask(policy, task, target, once=way == "once") for target in targets]
               for way in WAYS},
        }  # fmt: skip


def _ask(policy: TrainedPolicy, task: Task, target: float, *, once: bool) -> Answer:
    assert isinstance(policy.actor, TransformerActor)
    asked = type(policy)(with_target(policy.actor, target, once=once), policy.about)
    period = (task.config, task.test.start, task.test.end)
    return measured(evaluate(asked.act, *period, listener=asked.actor))
