"""Brackets learned online: only what is legal is tried, from the first step to a resumed one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gym_trade import SLTPConfig, VectorSLTPEnv
from offline_algos import online, resume
from offline_algos.actors import DIRECTION_COLUMN
from offline_algos.checkpoint import load_policy
from offline_algos.exploring import Explorer
from offline_algos.legal_actions import LegalActions
from offline_algos.normalisation import Normaliser
from offline_algos.replay_memory import ReplayMemory
from offline_algos.vector_env import TradeVectorEnv
from tests.offline_algos import samples, scripts
from tests.offline_algos.test_bracket_tasks import BRACKETS
from tests.offline_algos.test_online_runs import QRDQN, interrupted, market_flags
from tests.offline_algos.test_resume import same_tree

FLAGS = ["--task", "Trade-SLTP-v0", "--episode-steps", "15", "--num-train-envs", "3"]
FLAGS += ["--buffer-size", "300", "--eps-decay-steps", "100", "--n-step", "2"]
FLAGS += [f"--env={key}={json.dumps(value)}" for key, value in BRACKETS.items()]


def by_direction(rows, normaliser):
    """The actions, int64, of each direction: 0, 1 and -1."""
    obs, act = (rows[name].double().numpy() for name in ("obs", "act"))
    column = obs[:, DIRECTION_COLUMN] * normaliser["std"][DIRECTION_COLUMN].item()
    direction = np.rint(column + normaliser["mean"][DIRECTION_COLUMN].item())
    return {side: act[direction == side].astype(np.int64) for side in (0, 1, -1)}


def test_a_run_takes_legal_actions_and_resumes_exactly(market_file, tmp_path, monkeypatch):
    monkeypatch.setattr(online, "forget", lambda state: None)
    flags = [*market_flags(QRDQN, market_file), *FLAGS]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert scripts.explore(QRDQN, whole, *flags) == 0
    interrupted(QRDQN, halves, flags, 15 + 4)
    assert scripts.explore(QRDQN, halves, *flags, "--resume") == 0
    folders = [scripts.only_result(folder)[0] for folder in (whole, halves)]
    states = [torch.load(folder / resume.FILE, weights_only=True) for folder in folders]
    for part in ("algorithm", "counters", "explorer", "random"):
        same_tree(states[0][part], states[1][part])
    explored = states[0]["explorer"]
    made = by_direction(explored["memory"], explored["normaliser"])
    masks = load_policy(folders[0] / "policy.pth").actor.masks.rows
    for side, actions in made.items():
        assert len(actions) > 10
        assert set(actions.tolist()) <= set(np.flatnonzero(masks[side]))


def test_random_steps_are_legal_and_even():
    config = SLTPConfig(df=samples.config().df, **(samples.SMALL | BRACKETS), episode_steps=30)
    environment = VectorSLTPEnv(config, num_envs=6, autoreset_mode="Disabled")
    masks = environment.direction_masks.tolist()
    normaliser = Normaliser.identity(samples.COLUMNS)
    memory = ReplayMemory(1200, 6, samples.COLUMNS, None, seed=0, gamma=0.9)
    legal = LegalActions.of(masks, normaliser)
    explorer = Explorer(TradeVectorEnv(environment), memory, normaliser, 0, legal)
    explorer.warm_up(1200, norm_obs=False, norm_reward=False)
    made = by_direction(memory.state(), normaliser.state_dict())
    for side, actions in made.items():
        counts, allowed = np.bincount(actions, minlength=6), np.array(masks[side]) == 1
        assert (counts[~allowed] == 0).all() and not allowed.all()
        shares = counts[allowed] / counts.sum()
        assert shares == pytest.approx(1.0 / allowed.sum(), abs=0.12)
