"""Say what a trained policy is worth by a dataset alone: fitted Q evaluation.

    python -m offline_algos.fqe policy.pth --load-buffer-name trades.hdf5

The data need not be what the policy was trained on, but of the same task. See
`offline_algos.fitted_q` for the method. It is a diagnostic: compare policies by it on one dataset,
and believe a difference no further than both errors reach.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_tools import command_line
from data_tools.files import replacing
from offline_algos.actors import BoxActor
from offline_algos.checkpoint import TrainedPolicy, load_policy
from offline_algos.datasets import Dataset, load_dataset
from offline_algos.fitted_q import Estimate, Settings, evaluate_policy, refuse_memory
from offline_algos.flag_types import number, whole
from offline_algos.preparation import seed_everything

DEFAULT = Settings()


def make_parser() -> command_line.ArgumentParser:
    """The flags of this command."""
    parser = command_line.ArgumentParser(prog="python -m offline_algos.fqe", description=__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path, help="policy.pth or last.pth of a training run, or its directory")
    add("--load-buffer-name", required=True, metavar="FILE", help="the dataset, HDF5")
    add("--gamma", type=number(0.0, 1.0), help="discount (default: the policy's own, or 0.99)")
    add("--updates", type=whole(1), default=DEFAULT.updates, help="default %(default)s")
    add("--batch-size", type=whole(1), default=DEFAULT.batch_size, help="default %(default)s")
    add("--lr", type=number(0.0, positive=True), default=DEFAULT.lr, help="default %(default)s")
    add("--tau", type=number(0.0, 1.0, positive=True),
        help="how fast the target's copy follows (default: so that it arrives)")  # fmt: skip
    add("--hidden-sizes", type=whole(1), nargs="+", default=list(DEFAULT.hidden_sizes),
        metavar="N", help="default %(default)s")  # fmt: skip
    add("--seed", type=whole(0), default=0, help="default %(default)s")
    add("--fits", type=whole(1), default=DEFAULT.fits, help="how often to fit, from other weights: "
        "what the estimates differ by is the fit's error (default %(default)s)")  # fmt: skip
    add("--threads", type=whole(1), default=1, help="default %(default)s")
    add("--save", type=Path, metavar="FILE", help="write the estimate as JSON")
    return parser


def fit_of(policy: TrainedPolicy, dataset: Dataset) -> list[Any]:
    """The layout of the observations, once policy and data are known to be of one task.

    Raises:
        ValueError: They are not.
    """
    layout: list[Any] = policy.about["layout"]
    columns, found = layout[-1][2], dataset.buffer.observation_shape
    if found != (columns,) and not dataset.buffer.is_image:
        raise ValueError(
            f"{dataset.path} holds observations of shape {found}, the policy reads {columns} "
            "numbers. Take a dataset of the policy's own task."
        )
    made = (dataset.provenance or {}).get("task")
    if made is not None and made != policy.about["task"]:
        raise ValueError(
            f"{dataset.path} was made in {made}, the policy was trained for "
            f"{policy.about['task']}. Take a dataset of the policy's own task."
        )
    refuse_other_actions(policy.about.get("action_space") or {}, dataset)
    return layout


def refuse_other_actions(known: dict[str, Any], dataset: Dataset) -> None:
    """Refuse data in which the numbers of actions mean something else than in the policy.

    Args:
        known: What the checkpoint says about its actions.
        dataset: The data; a foreign file says nothing, and is taken.

    Raises:
        ValueError: They do.
    """
    made = (dataset.provenance or {}).get("action") or {}
    for name in ("levels", "brackets"):
        ours, theirs = known.get(name), made.get(name)
        if ours is None or theirs is None or ours == theirs:
            continue
        number = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), -1)
        differing = ""
        if number >= 0:
            differing = f" action {number} is {theirs[number]} there and {ours[number]} here;"
        raise ValueError(
            f"{dataset.path} and the policy differ in their actions:{differing} there are "
            f"{len(theirs)} and {len(ours)}. Take a dataset of the policy's own configuration."
        )


def refuse_target(path: Path | None) -> None:
    """Refuse a file that could not be written, before minutes of fitting.

    Raises:
        ValueError: Its folder does not exist, or it is a folder.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ValueError(f"--save {path}: expected a file in a folder that exists.")


def estimate(
    policy: TrainedPolicy, path: str, settings: Settings, *, quiet: bool = False
) -> Estimate:
    """Load a dataset and evaluate a policy on it.

    Args:
        policy: What `load_policy` returns.
        path: The dataset.
        settings: How to fit.
        quiet: Show no progress.

    Raises:
        ValueError: The dataset cannot be read, or does not fit the policy; see `evaluate_policy`.
    """
    refuse_memory(policy.actor)
    continuous = isinstance(policy.actor, BoxActor)
    dataset = load_dataset(path, settings.seed, continuous=continuous)
    layout = fit_of(policy, dataset)
    total = settings.updates * settings.fits
    with tqdm(total=total, unit="step", leave=False, disable=quiet or None) as bar:
        return evaluate_policy(
            policy.actor, dataset, layout, settings, progress=lambda loss: bar.update()
        )


def _a_step(reward: float, gamma: float) -> str:
    """Nothing where no discount weights the steps."""
    return f"reward a step {reward:.6g}; " if gamma < 1.0 else ""


def _error(found: float | None) -> str:
    return "of unknown error" if found is None else f"± {found:.2g}"


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, 2 for bad input, 130 after Ctrl-C."""

    def command() -> None:
        args = make_parser().parse_args(argv)
        refuse_target(args.save)
        seed_everything(args.seed, args.threads)
        policy = load_policy(args.checkpoint)
        gamma = args.gamma
        if gamma is None:
            gamma = policy.about.get("arguments", {}).get("gamma", DEFAULT.gamma)
        settings = Settings(
            gamma, args.updates, args.batch_size, args.lr, args.tau, tuple(args.hidden_sizes),
            args.seed, args.fits,
        )  # fmt: skip
        found = estimate(policy, args.load_buffer_name, settings)
        print(
            f"value {found.value:.6g} (discount {gamma:g}), {_error(found.error)} over the first "
            f"states of {found.starts} episodes, {_error(found.fit_error)} over {args.fits} fits\n"
            f"{_a_step(found.reward, gamma)}loss {found.loss:.4g} variances of the reward"
        )
        if args.save is not None:
            with replacing(args.save) as temporary:
                made = asdict(found) | {
                    "settings": asdict(settings) | {"tau": settings.pace},
                    "policy": policy.about,
                }
                temporary.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
