from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tianshou.data import Batch, ReplayBuffer

from data_tools.buffers import TensorReplayBuffer
from offline_algos import fqe
from offline_algos.actors import Actor, BoxActor
from offline_algos.checkpoint import load_policy
from offline_algos.datasets import Dataset, load_dataset, make_dataset
from offline_algos.fitted_q import Estimate, Settings, evaluate_policy, first_rows
from offline_algos.normalisation import Normaliser

STATES, GAMMA = 4, 0.8
LAYOUT = [["x", 0, STATES, [STATES]]]
# P[a, s, t]: the first action drifts to the left, the second to the right
PROBABILITIES = np.array([
    [[0.9, 0.1, 0.0, 0.0], [0.7, 0.2, 0.1, 0.0], [0.0, 0.7, 0.2, 0.1], [0.0, 0.0, 0.7, 0.3]],
    [[0.3, 0.7, 0.0, 0.0], [0.1, 0.2, 0.7, 0.0], [0.0, 0.1, 0.2, 0.7], [0.0, 0.0, 0.1, 0.9]],
])  # fmt: skip
REWARDS = np.array([[1.0, 0.0, 0.0, 0.5], [1.0, -0.5, 0.5, 3.0]])  # [a, s]
DEATH = 0.1  # of an episode that is left to the right


class Always(Actor):
    """One action in every state."""

    kind = "always"

    def __init__(self, action: int) -> None:
        super().__init__(Normaliser.identity(STATES))
        self.action = action

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> Always:
        return cls(**arguments)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.full((len(observations),), self.action)


class Multiple(BoxActor):
    """A multiple of the first number, in a box that is not [-1, 1]."""

    kind = "multiple"

    def __init__(self, factor: float) -> None:
        super().__init__(Normaliser.identity(STATES), [0.0], [4.0])
        self.factor = factor

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> Multiple:
        return cls(**arguments)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.factor * observations[:, :1]


class Remembering(Always):
    def begin(self, lanes: Any) -> None:
        """It does."""


def chain(rows: int = 6000, length: int = 25) -> Dataset:
    """Random actions in the chain, from its second state; episodes are cut, and some end."""
    rng = np.random.default_rng(0)
    buffer, state, age = ReplayBuffer(rows), 1, 0
    for _ in range(rows):
        action = int(rng.integers(2))
        ends = state == STATES - 1 and rng.random() < DEATH
        after = int(rng.choice(STATES, p=PROBABILITIES[action, state]))
        age += 1
        seen = [np.eye(STATES, dtype=np.float32)[number] for number in (state, after)]
        buffer.add(Batch(
            obs=seen[0], act=action, rew=REWARDS[action, state], terminated=ends,
            truncated=not ends and age == length, obs_next=seen[1], info={},
        ))  # fmt: skip
        over = ends or age == length
        state, age = (1, 0) if over else (after, age)
    return make_dataset(buffer, None, 0)


def true_value(action: int) -> float:
    """Of the second state, by linear algebra."""
    alive = 1.0 - DEATH * np.eye(STATES)[STATES - 1]
    moves = alive[:, None] * PROBABILITIES[action]
    return float(np.linalg.solve(np.eye(STATES) - GAMMA * moves, REWARDS[action])[1])


def quick(**changes: Any) -> Settings:
    return Settings(
        **{
            "gamma": GAMMA,
            "updates": 1500,
            "lr": 3e-3,
            "tau": 0.05,
            "hidden_sizes": (32,),
            "fits": 2,
        }
        | changes
    )


@pytest.mark.parametrize("action", [0, 1])
def test_it_finds_the_value_of_another_policy_than_the_data_s(action: int) -> None:
    found = evaluate_policy(Always(action), chain(), LAYOUT, quick())
    assert found.value == pytest.approx(true_value(action), abs=0.15)
    assert found.reward == pytest.approx((1 - GAMMA) * found.value)
    assert found.error is not None and found.fit_error is not None
    assert found.error < 1e-4  # every episode begins in the same state
    assert found.fit_error > 1e-3  # which says nothing about the fit


def test_the_policies_of_the_chain_differ_enough() -> None:
    assert true_value(1) > true_value(0) + 1.5


def test_continuous_actions_are_taken_from_the_policy_and_its_box() -> None:
    rng = np.random.default_rng(1)
    rows = 2000
    buffer = ReplayBuffer(rows)
    for row in range(rows):
        state = np.float32(row // 20 % 2 + 1)  # 1 or 2 for a whole episode
        act = np.array([4.0 * rng.random()], np.float32)
        seen = np.array([state, 0, 0, 0], np.float32)
        buffer.add(Batch(
            obs=seen, act=act, rew=-((act[0] - 1.5) ** 2), terminated=False,
            truncated=row % 20 == 19, obs_next=seen, info={},
        ))  # fmt: skip
    data = make_dataset(buffer, None, 0, continuous=True)
    # 1.5 and 3.0 are chosen: rewards 0 and -2.25 for ever
    found = evaluate_policy(Multiple(1.5), data, LAYOUT, quick(updates=2500))
    assert found.value == pytest.approx(-2.25 / 2 / (1 - GAMMA), abs=0.4)
    assert found.starts == rows // 20


def test_the_same_seed_gives_the_same_estimate() -> None:
    estimates = [
        evaluate_policy(Always(0), chain(600), LAYOUT, quick(updates=50, seed=seed))
        for seed in (3, 3, 4)
    ]
    assert estimates[0] == estimates[1] != estimates[2]


def test_episodes_begin_where_another_has_ended() -> None:
    data = chain(100, length=30)
    done = data.buffer.done[:100]
    expected = [0, *(np.flatnonzero(done[:-1]) + 1)]
    assert first_rows(data.buffer).tolist() == expected


def test_counterfactual_transitions_begin_no_episode() -> None:
    data = chain(100, length=30)
    begun = first_rows(data.buffer)
    data.buffer._meta["counterfactual"] = np.arange(len(data.buffer)) >= begun[2]
    assert first_rows(data.buffer).tolist() == begun[:2].tolist()
    data.buffer._meta["counterfactual"] = np.ones(len(data.buffer), bool)
    with pytest.raises(ValueError, match="no episode begins"):
        evaluate_policy(Always(0), data, LAYOUT, quick())


def test_a_policy_may_do_at_first_what_nobody_does_elsewhere() -> None:
    class AtFirst(Always):
        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return torch.where(observations[:, 1] > 0, 5, 0)

    buffer = ReplayBuffer(40)
    for row in range(40):
        seen = [np.eye(STATES, dtype=np.float32)[number] for number in (1, 2)]
        buffer.add(Batch(
            obs=seen[0], act=0, rew=float(row % 2), terminated=True, truncated=False,
            obs_next=seen[1], info={},
        ))  # fmt: skip
    settings = quick(updates=2)
    assert evaluate_policy(AtFirst(0), make_dataset(buffer, None, 0), LAYOUT, settings).starts == 40


def test_far_horizons_are_reached() -> None:
    rng = np.random.default_rng(2)
    buffer = ReplayBuffer(1000)
    seen = np.eye(STATES, dtype=np.float32)[0]
    for row in range(1000):
        buffer.add(Batch(
            obs=seen, act=0, rew=1.0 + rng.normal(), terminated=False, truncated=row % 50 == 49,
            obs_next=seen, info={},
        ))  # fmt: skip
    settings = Settings(updates=2000, lr=3e-3, hidden_sizes=(32,), fits=1, batch_size=64)
    found = evaluate_policy(Always(0), make_dataset(buffer, None, 0), LAYOUT, settings)
    assert found.reward == pytest.approx(1.0, rel=0.15)


def test_what_one_number_cannot_say_is_unknown() -> None:
    found = evaluate_policy(Always(0), chain(20), LAYOUT, quick(updates=2, fits=1))
    assert (found.starts, found.error, found.fit_error) == (1, None, None)


def test_what_has_no_value_is_refused() -> None:
    data = chain(100)
    data.buffer.terminated[:] = False
    with pytest.raises(ValueError, match="--gamma 1"):
        evaluate_policy(Always(0), data, LAYOUT, quick(gamma=1.0))
    with pytest.raises(ValueError, match="the fit diverged"):
        evaluate_policy(Always(0), chain(100), LAYOUT, quick(lr=1e30, updates=50))


def test_a_policy_that_remembers_is_refused() -> None:
    with pytest.raises(ValueError, match="remembers of its episode"):
        evaluate_policy(Remembering(0), chain(100), LAYOUT, quick())


# --- the command ------------------------------------------------------------------------------


def refusal(capsys: Any, *flags: object) -> str:
    assert fqe.main([str(flag) for flag in flags]) == 2
    error: str = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_the_command_estimates_and_saves(
    il_run: Path, dataset_file: Path, tmp_path: Path, capsys: Any
) -> None:
    saved = tmp_path / "worth.json"
    flags = ["--updates", "60", "--gamma", "0.9", "--save", saved]
    words = [il_run / "policy.pth", "--load-buffer-name", dataset_file, *flags]
    assert fqe.main([str(word) for word in words]) == 0
    made = json.loads(saved.read_text())
    assert f"value {made['value']:.6g}" in capsys.readouterr().out
    assert made["settings"]["gamma"] == 0.9 and made["policy"]["method"] == "il"
    found = Estimate(**{name: made[name] for name in Estimate.__dataclass_fields__})
    buffer, _ = TensorReplayBuffer.load(dataset_file)
    assert found.starts == len(first_rows(buffer)) > 1


def test_a_continuous_policy_is_estimated_too(continuous_run: Path, continuous_file: Path) -> None:
    words = [continuous_run / "policy.pth", "--load-buffer-name", continuous_file]
    assert fqe.main([*map(str, words), "--updates", "5"]) == 0


def test_data_whose_actions_mean_something_else_are_refused(
    il_run: Path, dataset_file: Path
) -> None:
    policy = load_policy(il_run / "policy.pth")
    levels = policy.about["action_space"]["levels"]
    fqe.fit_of(policy, load_dataset(str(dataset_file), 0))
    policy.about["action_space"]["levels"] = [-1.0, *levels[1:]]
    with pytest.raises(ValueError, match=f"action 0 is {levels[0]} there and -1.0 here"):
        fqe.fit_of(policy, load_dataset(str(dataset_file), 0))


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path, capsys: Any) -> None:
    said = refusal(
        capsys, "none.pth", "--load-buffer-name", "none", "--save", tmp_path / "no" / "x.json"
    )
    assert "--save" in said and "folder that exists" in said


def test_data_of_the_other_kind_of_actions_are_refused(
    il_run: Path, continuous_file: Path, capsys: Any
) -> None:
    said = refusal(capsys, il_run / "policy.pth", "--load-buffer-name", continuous_file)
    assert "actions" in said


def test_data_of_another_task_are_refused(il_run: Path, cart_run: Path, capsys: Any) -> None:
    (cart,) = [
        folder / "cart.hdf5" for folder in cart_run.parents if (folder / "cart.hdf5").exists()
    ]
    said = refusal(capsys, il_run / "policy.pth", "--load-buffer-name", cart)
    assert "observations of shape (4,)" in said


def test_a_transformer_is_refused(
    transformer_run: Path, continuous_file: Path, capsys: Any
) -> None:
    said = refusal(capsys, transformer_run / "policy.pth", "--load-buffer-name", continuous_file)
    assert "remembers of its episode" in said
