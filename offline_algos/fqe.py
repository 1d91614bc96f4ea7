"""Say what a trained policy is worth by a dataset alone: fitted Q evaluation.

    python -m offline_algos.fqe policy.pth --load-buffer-name trades.hdf5

The data need not be what the policy was trained on, but of the same task. See
`offline_algos.fitted_q` for the method; how far its ranking of policies is to be believed is what
``python -m benchmarks.report`` tables.
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
    add("checkpoint", type=Path, help="policy.pth or last.pth of a training run")
    add("--load-buffer-name", required=True, metavar="FILE", help="the dataset, HDF5")
    add("--gamma", type=number(0.0, 1.0), help="discount (default: the policy's own, or 0.99)")
    add("--updates", type=whole(1), default=DEFAULT.updates, help="default %(default)s")
    add("--batch-size", type=whole(1), default=DEFAULT.batch_size, help="default %(default)s")
    add("--lr", type=number(0.0, positive=True), default=DEFAULT.lr, help="default %(default)s")
    add("--tau", type=number(0.0, 1.0, positive=True), default=DEFAULT.tau,
        help="how fast the target's copy follows (default %(default)s)")  # fmt: skip
    add("--hidden-sizes", type=whole(1), nargs="+", default=list(DEFAULT.hidden_sizes),
        metavar="N", help="default %(default)s")  # fmt: skip
    add("--seed", type=whole(0), default=0, help="default %(default)s")
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
    return layout


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
    with tqdm(total=settings.updates, unit="step", leave=False, disable=quiet or None) as bar:
        return evaluate_policy(
            policy.actor, dataset, layout, settings, progress=lambda loss: bar.update()
        )


def main(argv: list[str] | None = None) -> int:
    """The command line; 0, 2 for bad input, 130 after Ctrl-C."""

    def command() -> None:
        args = make_parser().parse_args(argv)
        seed_everything(args.seed, args.threads)
        policy = load_policy(args.checkpoint)
        gamma = args.gamma
        if gamma is None:
            gamma = policy.about.get("arguments", {}).get("gamma", DEFAULT.gamma)
        settings = Settings(
            gamma, args.updates, args.batch_size, args.lr, args.tau, tuple(args.hidden_sizes),
            args.seed,
        )  # fmt: skip
        found = estimate(policy, args.load_buffer_name, settings)
        print(
            f"value {found.value:.6g} ± {found.error:.2g} (discount {gamma:g}, over "
            f"{found.starts} episodes' first states; the fit's own error is not in it)\n"
            f"reward a step {found.reward:.6g}; loss {found.loss:.4g} variances of the reward"
        )
        if args.save is not None:
            with replacing(args.save) as temporary:
                made = asdict(found) | {"settings": asdict(settings), "policy": policy.about}
                temporary.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
