"""Recording a dataset of a checkpoint, where it was trained."""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium as gym

from data_tools.acting import acting_in
from data_tools.driving import Behaviour
from data_tools.environment import parse_env_arguments, reopen_market
from data_tools.recording import episodes_text, record_market
from data_tools.rollouts import record
from data_tools.training_span import combine_arguments
from gym_trade import VectorTradeEnv
from gym_trade.arguments import decode
from offline_algos.behaviour import behaviour_of, describe_checkpoint
from offline_algos.checkpoint import CheckpointError, TrainedPolicy
from offline_algos.fitting import check_fit
from offline_algos.origin import Origin
from offline_algos.tasks import TASKS, open_task, refuse_foreign_code

DEFAULT_BUFFER_SIZE = 100_000


def record_dataset(args: argparse.Namespace, policy: TrainedPolicy, origin: Origin) -> None:
    """Record what a policy does where it was trained; print the dataset's path last.

    Args:
        args: Parsed flags.
        policy: The policy.
        origin: What its checkpoint tells.

    Raises:
        ValueError: Where it was trained is not known, a flag does not fit that, or the file cannot
            be written.
    """
    assert origin.path is not None
    epsilon = args.eps_test or 0.0
    about = describe_checkpoint(policy, origin.path, epsilon, args.save_buffer_name)
    size = args.buffer_size or DEFAULT_BUFFER_SIZE

    def behaviour(space: gym.Space[Any], seed: int, **more: Any) -> Behaviour:
        return behaviour_of(policy, space, epsilon=epsilon, seed=seed, description=about, **more)

    if origin.task in TASKS:
        arguments = _training_arguments(args, origin)
        market_spec = origin.provenance["market"]

        def on_lanes(venv: VectorTradeEnv, seed: int) -> Behaviour:
            check_fit(venv, origin)
            return behaviour(venv.single_action_space, seed, mask=acting_in(venv).mask)

        summary = record_market(
            args.save_buffer_name, on_lanes,
            task=origin.provenance["task"], market=reopen_market(market_spec),
            market_spec={k: v for k, v in market_spec.items() if k != "span"},
            arguments=arguments, train_fraction=None, buffer_size=size, seed=args.seed,
            overwrite=args.overwrite,
        )  # fmt: skip
        print(summary.text)
        return
    task = open_task(args, origin)
    made = record(
        task.name, behaviour(task.action_space, args.seed), args.save_buffer_name, buffer_size=size,
        seed=args.seed, overwrite=args.overwrite, progress=True,
    )  # fmt: skip
    print(f"{episodes_text(size, made)}\n{args.save_buffer_name}")


def _training_arguments(args: argparse.Namespace, origin: Origin) -> dict[str, Any]:
    """The environment that a checkpoint's data was collected in, between the same dates.

    Raises:
        ValueError: The checkpoint does not say, or a flag asks for other dates.
    """
    for flag in ("test_market", "test_start", "test_end"):
        if getattr(args, flag) is not None:
            raise CheckpointError(
                f"--{flag.replace('_', '-')}: a dataset is recorded where the policy was trained, "
                "so that the dates after it stay unseen. Leave it out."
            )
    provenance = origin.provenance
    if not {"config", "market", "span"} <= set(provenance):
        raise CheckpointError(
            f"{origin.path} does not say on which dates it was trained, since its dataset has no "
            "provenance: what it would record could hold dates that are kept for the test."
        )
    overrides = parse_env_arguments(args.env, args.env_config)
    refuse_foreign_code(origin.noun, provenance["config"], overrides)
    for name in ("df", "start", "end"):
        if name in overrides:
            raise CheckpointError(
                f"--env {name}: a dataset is recorded on the market and the dates that the policy "
                "was trained on. Leave it out."
            )
    known = {name: decode(name, x) for name, x in provenance["config"].items() if name != "df"}
    span = {"start": provenance["span"]["start"], "end": provenance["span"]["end"]}
    return combine_arguments(known | overrides | span, None, None, None, task=provenance["task"])
