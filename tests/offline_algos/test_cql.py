from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.data import Batch, ReplayBuffer

from offline_algos import atari_style_cql
from offline_algos.normalisation import Normaliser, Statistics

MEAN, STD = np.array([30_000.0, 0.0]), np.array([2.0, 1e-4])


def build(*flags: str):
    small = ["--num-quantiles", "4", "--hidden-sizes", "8", "--device", "cpu"]
    args = atari_style_cql.make_parser().parse_args(["--load-buffer-name", "x", *small, *flags])
    torch.manual_seed(0)
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    return atari_style_cql.build(args, space, spaces.Discrete(3), Normaliser(Statistics(MEAN, STD)))


def transitions(ends: list[str]) -> ReplayBuffer:
    """Episodes of two steps with rewards 1, 2, ...; each ends as `ends` says."""
    rng = np.random.default_rng(0)
    made = ReplayBuffer(2 * len(ends))
    for row in range(2 * len(ends)):
        end = ends[row // 2] if row % 2 else ""
        obs, obs_next = (MEAN + STD * rng.normal(size=(2, 2))).astype(np.float32)
        made.add(
            Batch(
                obs=obs, obs_next=obs_next, act=row % 3, rew=row + 1.0, info={},
                terminated=end == "terminated", truncated=end == "truncated", done=end != "",
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_bootstrap_through_truncation_and_not_through_termination(n_step):
    algorithm = build("--gamma", "0.5", "--n-step", str(n_step))
    buffer = transitions(["truncated", "terminated"])
    rows = np.arange(4)
    returns = algorithm._preprocess_batch(buffer[rows], buffer, rows).returns
    assert returns.shape == (4, 4)
    with torch.no_grad():
        values = algorithm.policy.model(buffer.obs_next)[0]
    best = values[rows, values.mean(2).argmax(1)]
    expected = torch.stack([1 + 0.5 * best[0], 2 + 0.5 * best[1], 3 + 0.5 * best[2],
                            torch.full((4,), 4.0)])  # fmt: skip
    if n_step == 3:
        expected[0] = 1 + 0.5 * 2 + 0.25 * best[1]
        expected[2] = 3 + 0.5 * 4
    torch.testing.assert_close(returns, expected)


def test_the_flags_reach_the_algorithm():
    algorithm = build(
        "--gamma", "0.7", "--n-step", "2", "--min-q-weight", "3", "--target-update-freq", "9",
        "--lr", "0.01",
    )  # fmt: skip
    assert (algorithm.gamma, algorithm.n_step, algorithm.min_q_weight) == (0.7, 2, 3.0)
    assert algorithm.target_update_freq == 9 and algorithm.num_quantiles == 4
    assert algorithm.optim._optim.param_groups[0]["lr"] == 0.01
    assert (algorithm.policy.eps_training, algorithm.policy.eps_inference) == (0.0, 0.0)


def test_the_target_network_normalises_like_the_network_and_is_never_trained():
    algorithm = build()
    target = algorithm.model_old.module
    assert torch.equal(target.normaliser.mean, torch.as_tensor(MEAN))
    assert target.normaliser is not algorithm.policy.model.normaliser
    trained = {id(p) for p in algorithm.policy.parameters()}
    assert not trained & {id(p) for p in target.parameters()}
