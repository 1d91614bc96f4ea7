"""Record a dataset of a Gymnasium task that is no market, with random actions or a rule.

Example: --task CartPole-v1 --policy balance --epsilon 0.1 --buffer-size 10000
--save-buffer-name balance.hdf5
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.controllers import balance, swing_up
from data_tools import command_line
from data_tools.gym_environments import make_environment
from data_tools.noise import random_actions
from data_tools.recording import check_counts, episodes_text
from data_tools.rollouts import Act, record

RANDOM = "random"
# Rules written by hand, and the task that each is for.
CONTROLLERS: dict[str, tuple[str, Any]] = {
    "balance": ("CartPole-v1", balance),
    "swing-up": ("Pendulum-v1", swing_up),
}


def make_act(task: str, policy: str, epsilon: float) -> Act:
    """A policy as `rollouts.record` takes it.

    Args:
        task: A registered Gymnasium task.
        policy: "random", or one of `CONTROLLERS`.
        epsilon: Probability that an action is replaced by a random one.

    Raises:
        CommandLineError: The policy is unknown or of another task, or `epsilon` no probability.
    """
    if not 0.0 <= epsilon <= 1.0:
        raise command_line.CommandLineError(f"--epsilon {epsilon}: expected a number, 0 to 1.")
    if policy == RANDOM:
        env = make_environment(task)
        space = env.action_space
        env.close()

        def act(seen: npt.NDArray[Any], generator: np.random.Generator) -> npt.NDArray[Any]:
            return random_actions(space, len(seen), generator)

        return act
    if CONTROLLERS.get(policy, ("",))[0] != task:
        known = ", ".join(f"{name} ({of})" for name, (of, _) in CONTROLLERS.items())
        raise command_line.CommandLineError(
            f"--policy {policy} --task {task}: expected {RANDOM}, or a rule of that task: {known}."
        )
    return functools.partial(CONTROLLERS[policy][1], noise=epsilon)


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m benchmarks.record_task", description=__doc__
    )
    # fmt: off
    add = parser.add_argument
    add("--task", required=True, help="a registered Gymnasium task")
    add("--policy", default=RANDOM, metavar="NAME",
        help=f"{RANDOM}, or {', '.join(f'{n} (of {t})' for n, (t, _) in CONTROLLERS.items())} "
        "(default: %(default)s)")
    add("--epsilon", type=float, default=0.0, metavar="P",
        help="probability that an action is replaced by a random one (default: %(default)s)")
    add("--buffer-size", type=int, default=100_000, metavar="N",
        help="transitions, exactly (default: %(default)s)")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--save-buffer-name", required=True, metavar="FILE", help="the dataset to write, .hdf5")
    add("--overwrite", action="store_true", help="replace an existing dataset")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line: 0, 2 for bad input, 130 after Ctrl-C."""

    def command() -> None:
        args = _parser().parse_args(argv)
        check_counts(args.buffer_size, None, args.seed)
        act = make_act(args.task, args.policy, args.epsilon)
        episodes = record(
            args.task, act, args.save_buffer_name, buffer_size=args.buffer_size,
            policy={"name": args.policy, "epsilon": args.epsilon}, seed=args.seed,
            overwrite=args.overwrite, progress=True,
        )  # fmt: skip
        print(f"{episodes_text(args.buffer_size, episodes)}\n{args.save_buffer_name}")

    return command_line.run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
