"""Ask what other actions would have done, or what another reward would have paid.

The price path does not depend on the agent, so the environment can take each episode's actions
again, and at each logged state other ones instead. What comes out is exact: it is the same ledger,
and a dataset whose observations, rewards and flags it does not give again bit by bit is refused.

--actions adds counterfactual transitions behind the logged ones. Each is an episode of its own, of
one step: terminated, or else truncated with its true next observation; the column counterfactual is
1. They are good for learning values (Q functions see what every action earns) and models of the
task. They are nobody's behaviour: what imitates the actions in the data (imitation, the Decision
Transformer, the imitating part of BCQ or TD3+BC) would imitate them, and returns by episode and
importance weights mean nothing there. So the column of the behaviour's log-probabilities is left
out, and behavior_return in the provenance is that of the logged episodes alone.

--reward writes the same trajectories with another built-in reward.

Examples: trades.hdf5 more.hdf5 --actions all
          trades.hdf5 pnl.hdf5 --reward pnl
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_tools.alternatives import Wanted
from data_tools.command_line import (
    ArgumentParser,
    CommandLineError,
    run,
    sure_interrupts,
    terminate_cleanly,
)
from data_tools.editing import Edited, check_target, nothing, open_source
from data_tools.environment import parse_env_arguments
from data_tools.parts import MakeBehaviour
from data_tools.policies import RULES
from data_tools.relabelling import Relabelling
from gym_trade import Market
from gym_trade.types import REWARDS


def relabel(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    actions: str | MakeBehaviour | None = None,
    samples: int = 1,
    epsilon: float = 0.0,
    reward: str | None = None,
    counterfactual_only: bool = False,
    seed: int = 0,
    market: Market | str | None = None,
    env: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    check: Callable[[], object] = nothing,
) -> Edited:
    """Write a trading dataset with counterfactual transitions, or with another reward.

    Args:
        source: The dataset, of either layout; its episodes must be there from their beginnings on.
        target: The file to write, of the same layout.
        actions: What is tried at each logged state: "all" other discrete actions, "random" other
            ones, what a scripted policy does (as in `policies.make_policy`) where that is something
            else, or a policy's maker. None: nothing.
        samples: Random actions at each state.
        epsilon: Probability that a scripted policy's action is replaced by a random one.
        reward: A built-in reward that takes the place of the dataset's; None: it stays.
        counterfactual_only: Leave the logged transitions out.
        seed: Of random actions.
        market: As for `market_windows.open_windows`.
        env: Callables that the dataset names and may not import by itself: argument -> callable.
        overwrite: Replace an existing target.
        progress: Show a progress bar on stderr.
        check: Called once in a while; may raise.

    Returns:
        What was written; `episodes` are the logged ones, also where they were left out.

    Raises:
        ValueError: An argument is out of range, a file cannot be read or written, or the dataset
            is not what its environment gives (`hdf5.DatasetError`).
    """
    wanted = Wanted(actions, samples, epsilon, reward, counterfactual_only, seed)
    place, goal = Path(source), Path(target)
    check_target(goal, [place], overwrite)
    with contextlib.ExitStack() as stack:
        features = (env or {}).get("features")
        opened = stack.enter_context(open_source(place, market, features))
        work = Relabelling(opened, wanted, market, env or {})
        stack.callback(work.close)
        return work.write(goal, overwrite, progress, check)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m data_tools.relabel", description=__doc__)
    # fmt: off
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="the dataset, of a trading task")
    add("target", type=Path, metavar="TARGET", help="the file to write")
    add("--actions", metavar="WHICH",
        help="what to try at each logged state: all (every other discrete action), random (another "
        f"action by lot), or what a policy does, as in data_tools.collect: {', '.join(RULES)}")
    add("--samples", type=int, default=1, metavar="N",
        help="random actions at each state (default: %(default)s)")
    add("--epsilon", type=float, default=0.0, metavar="P",
        help="probability that a policy's action is replaced by a random one "
        "(default: %(default)s)")
    add("--reward", metavar="NAME", help=f"another reward: one of {', '.join(REWARDS)}")
    add("--counterfactual-only", action="store_true", help="leave the logged transitions out")
    add("--seed", type=int, default=0, help="of random actions (default: %(default)s)")
    add("--market", metavar="FILE",
        help="the market that it was collected on, if it is no longer where it was")
    add("--env", metavar="KEY=VALUE", action="append", default=[],
        help="code of its maker's own that the dataset names, and alone may not run: its features "
        "or its reward")
    add("--overwrite", action="store_true", help="replace an existing target")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """

    def command() -> None:
        flags = vars(_parser().parse_args(argv))
        if flags["actions"] is None and flags["reward"] is None:
            raise CommandLineError("expected --actions, --reward, or both. See --help.")
        flags["env"] = parse_env_arguments(flags["env"])
        with sure_interrupts() as check:
            print(relabel(**flags, progress=True, check=check).text)

    return run(command, interrupted="interrupted: nothing was written.")


if __name__ == "__main__":
    terminate_cleanly()
    raise SystemExit(main())
