"""Using a checkpoint from a training script: test it again, watch it, record a dataset of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from data_tools.acting import acting_in
from data_tools.files import sha256
from offline_algos import preparation, report, runner
from offline_algos.behaviour import at_target, behaviour_of
from offline_algos.checkpoint import CheckpointError, TrainedPolicy, checkpoint_file, load_policy
from offline_algos.evaluation import evaluation_environment, walk
from offline_algos.gym_task import GymTask
from offline_algos.origin import Origin, checkpoint_origin
from offline_algos.recording import record_dataset
from offline_algos.showing import (
    WINDOW,
    check_picture,
    draw_market,
    opening_window,
    play_episode,
)
from offline_algos.tasks import TASKS, Task, open_task

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that a script was given.

    Attributes:
        path: The file.
        policy: What is in it.
        origin: What it tells of the task.
    """

    path: Path
    policy: TrainedPolicy
    origin: Origin

    @property
    def method(self) -> str:
        """Which method trained it."""
        method: str = self.policy.about["method"]
        return method


def use_checkpoint(args: argparse.Namespace, script: str) -> None:
    """Do what ``--eval-only`` or ``--watch`` asks for.

    Args:
        args: Parsed flags.
        script: The script's file name without its ending, such as "atari_style_cql".

    Raises:
        ValueError: The checkpoint is none of this script's or task's, or flags do not fit it.
    """
    preparation.seed_everything(args.seed, args.threads)
    checkpoint = open_checkpoint(args, script)
    if args.num_test_envs is not None and checkpoint.origin.task in TASKS:
        raise CheckpointError(
            f"--num-test-envs {args.num_test_envs}: episodes are counted in other tasks, and a "
            "market's test period is passed once. Leave it out."
        )
    if args.num_test_envs is None:
        assert checkpoint.origin.evaluation is not None
        args.num_test_envs = checkpoint.origin.evaluation.get("episodes", 1)
    # a Decision Transformer can be asked for other returns; the first one is what it acts for
    targets = getattr(args, "target_return", None) or [None]
    if words := [word for word in targets if isinstance(word, str)]:
        raise ValueError(
            f"--target-return {words[0]} is a return of the dataset's episodes, and here a "
            "checkpoint is used without its dataset. Give a number: targets.json beside the "
            "checkpoint has those that it was tested at."
        )
    policy = at_target(checkpoint.policy, targets[0])
    if args.save_buffer_name is not None:
        record_dataset(args, policy, checkpoint.origin)
    elif args.watch:
        watch(args, replace(checkpoint, policy=policy))
    else:
        judge_again(args, checkpoint, targets)


def open_checkpoint(args: argparse.Namespace, script: str) -> Checkpoint:
    """Open ``--resume-path``.

    Raises:
        CheckpointError: It is no checkpoint, or one of another method or task.
    """
    path = checkpoint_file(args.resume_path)
    policy = load_policy(path, args.device)
    about = policy.about
    try:
        origin = checkpoint_origin(about, str(path))
        kind = "atari" if origin.action_shape == () else "d4rl"
        wanted = f"{kind}_style_{about['method']}"
    except KeyError as missing:
        raise CheckpointError(
            f"{path} was not saved by a training script: it does not say its {missing.args[0]}."
        ) from None
    if wanted != script:
        actions = "discrete" if kind == "atari" else "continuous"
        raise CheckpointError(
            f"{path} is a checkpoint of {about['method']} with {actions} actions, for "
            f"{about['task']}: take {wanted}.py."
        )
    task = args.task or about["task"]
    if task != about["task"] and not {task, about["task"]} <= {*TASKS}:
        raise CheckpointError(
            f"--task {task}, but {path} is a checkpoint for {about['task']}. Leave --task out."
        )
    return Checkpoint(path, policy, origin)


# --- testing ----------------------------------------------------------------------------------


def judge_again(
    args: argparse.Namespace, checkpoint: Checkpoint, targets: Sequence[float | None]
) -> None:
    """Test a checkpoint as the end of a training run does, and write evaluation.json."""
    task, policy = open_task(args, checkpoint.origin), checkpoint.policy
    print(f"{task.name}, {checkpoint.method}: {checkpoint.path}\n{task.describe()}")
    policies = {
        "policy" if target is None else f"target {target:g}": at_target(policy, target)
        for target in targets
    }
    judge = report.test_in_gym if isinstance(task, GymTask) else report.test_on_market
    tested, shown, curves = judge(policies, checkpoint.origin, task)
    parent = runner.folder_of(args.logdir, checkpoint.method, task)
    directory = runner.new_directory(parent, f"evaluation-{datetime.now():%Y%m%d-%H%M%S}")
    result = {
        "format_version": FORMAT_VERSION,
        **policy.about,
        **task.facts(),
        "checkpoint": {
            "path": str(checkpoint.path.resolve()),
            "content_hash": sha256(checkpoint.path),
        },
        "test": tested,
        "directory": str(directory),
        "versions": report.versions(),
    }
    report.write_result(directory / "evaluation.json", result, shown, curves)


# --- watching ---------------------------------------------------------------------------------


def watch(args: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """Let a checkpoint act and print what each episode earns."""
    task = open_task(args, checkpoint.origin)
    if isinstance(task, GymTask):
        _watch_episodes(args, checkpoint, task)
    else:
        _watch_market(args, checkpoint, task)


def _watch_market(args: argparse.Namespace, checkpoint: Checkpoint, task: Task) -> None:
    """One pass over the test period."""
    picture = check_picture(args.render, (".png", ".pdf", ".svg"))
    policy, config = checkpoint.policy, task.config
    epsilon = args.eps_test or 0.0
    if args.render is not None and config.rollout:
        raise ValueError(
            f"--render: {task.name} is a row of rollouts, which no picture shows. Leave it out."
        )
    if args.render == WINDOW:
        config = config.replace(render_mode="human")
    recorded = picture is not None
    with opening_window() if args.render == WINDOW else nullcontext():
        environment = evaluation_environment(
            config, task.test.start, task.test.end, recorded=recorded
        )
    acting = behaviour_of(
        policy, task.action_space, epsilon=epsilon, seed=args.seed,
        mask=acting_in(environment).mask,
    )  # fmt: skip
    name = f"{checkpoint.method} {checkpoint.path.stem}"
    outcome = walk(environment, acting.act, name, True, policy.actor)
    print(f"{task.name}, {checkpoint.path}, {task.test}")
    end = "bankrupt" if outcome["terminated"] else "to its end"
    print(f"episode 1: return {outcome['return']:+.6g}, {outcome['steps']} steps, {end}")
    print(report.table({name: outcome}))
    if picture is not None:
        draw_market(environment, picture)
        print(picture)
    environment.close()


def _watch_episodes(args: argparse.Namespace, checkpoint: Checkpoint, task: GymTask) -> None:
    """The episodes of the test, one after the other."""
    picture = check_picture(args.render, (".gif",))
    acting = behaviour_of(
        checkpoint.policy, task.action_space, epsilon=args.eps_test or 0.0, seed=args.seed
    )
    print(f"{task.name}, {checkpoint.path}")
    returns = []
    for number in range(task.episodes):
        first = picture if number == 0 else None
        earned, steps = play_episode(
            task, acting, number, window=args.render == WINDOW, picture=first
        )
        print(f"episode {number + 1}: return {earned:.6g}, {steps} steps")
        returns.append(earned)
    print(
        f"return of {len(returns)} episodes: mean {np.mean(returns):.6g}, std "
        f"{np.std(returns):.6g}, min {min(returns):.6g}, max {max(returns):.6g}"
    )
    if picture is not None:
        print(picture)
