"""Collecting with brackets and in one-step rollouts: rows, masks, log-probabilities, rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from tianshou.data import ReplayBuffer

from data_tools.collect import main
from data_tools.convert import convert
from data_tools.dataset_report import report_dataset
from data_tools.environment import TASKS, environment_help, reopen_market
from data_tools.hdf5 import load_buffer
from data_tools.layouts import to_full, to_indexed
from data_tools.policies import PolicyError, make_policy
from data_tools.provenance_schema import find_fault
from gym_trade import Market, VectorSLTPEnv
from tests.data_tools.collecting import quiet, write_market
from tests.data_tools.test_policies import frame

BRACKETS = {"window_sizes": 6, "leverage": 2, "include_close_action": True}


@pytest.fixture(scope="module")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_market(tmp_path_factory.mktemp("market") / "wild.csv")


@pytest.mark.parametrize("task", ["Trade-SLTP-v0", "Trade-OneStep-v0"])
@pytest.mark.parametrize("policy", ["random", "ma-cross:fast=3,slow=9+random", "breakout:window=5"])
def test_transitions_equal_the_scalar_environment(
    tmp_path: Path, market_file: str, task: str, policy: str
) -> None:
    path = tmp_path / "a.hdf5"
    found = quiet(path, market_file, task=task, policy=policy, epsilon=0.2, seed=5, env=BRACKETS)
    buffer, provenance = load_buffer(path)
    config = TASKS[task].config_class.from_json(
        json.dumps(provenance["config"]), df=reopen_market(provenance["market"], echo=None)
    )
    row = 0
    for lane in range(7):
        env = gymnasium.make(task, config=config)
        observation, info = env.reset(seed=5 + lane)
        for _ in range(500 // 7 + (lane < 500 % 7)):
            np.testing.assert_array_equal(buffer.obs[row], observation)
            np.testing.assert_array_equal(buffer.action_mask[row], info["action_mask"])
            assert info["action_mask"][buffer.act[row]] == 1
            following, reward, terminated, truncated, info = env.step(buffer.act[row])
            np.testing.assert_array_equal(buffer.obs_next[row], following)
            assert buffer.rew[row] == reward
            assert buffer.terminated[row] == terminated
            observation = following
            if terminated or truncated:
                observation, info = env.reset()
            row += 1
        env.close()
    assert row == 500 and found.provenance["task"] == task
    if task == "Trade-OneStep-v0":
        assert buffer.terminated.all() and found.episodes.mean_length == 1.0
        assert provenance["episode_steps"] == 30  # as asked for: it shortens nothing here


@pytest.mark.parametrize("task", ["Trade-SLTP-v0", "Trade-OneStep-v0"])
def test_masks_and_probabilities_come_back_in_the_same_bytes(
    tmp_path: Path, market_file: str, task: str
) -> None:
    """Two further columns, whichever writer wrote them: another layout, another format."""
    full, small = tmp_path / "full.hdf5", tmp_path / "small.hdf5"
    for path, layout in (full, "full"), (small, "indexed"):
        quiet(path, market_file, task=task, policy="random", env=BRACKETS, layout=layout)
    to_full(small, tmp_path / "a.hdf5")
    assert (tmp_path / "a.hdf5").read_bytes() == full.read_bytes()
    to_indexed(full, tmp_path / "b.hdf5")
    assert (tmp_path / "b.hdf5").read_bytes() == small.read_bytes()
    convert(full, tmp_path / "c.h5", target_format="d4rl")
    convert(tmp_path / "c.h5", tmp_path / "d.hdf5")
    assert (tmp_path / "d.hdf5").read_bytes() == full.read_bytes()


def test_a_rollout_has_no_default_length(tmp_path: Path, market_file: str) -> None:
    made = quiet(
        tmp_path / "a.hdf5", market_file, task="Trade-OneStep-v0", episode_steps=None, num_envs=None
    )
    assert made.provenance["episode_steps"] is None
    assert made.provenance["num_envs"] == 64
    assert made.provenance["config"]["rollout_steps"] == 24


def test_further_columns_come_back_in_samples(tmp_path: Path, market_file: str) -> None:
    """From Tianshou's own loader, with what the provenance says of them."""
    path = tmp_path / "a.hdf5"
    quiet(path, market_file, task="Trade-SLTP-v0", policy="random", env=BRACKETS)
    batch, rows = ReplayBuffer.load_hdf5(str(path)).sample(64)
    assert batch.policy_logp.dtype == np.float32 and batch.action_mask.dtype == np.bool_
    np.testing.assert_allclose(batch.policy_logp, -np.log(batch.action_mask.sum(1)), rtol=1e-6)
    assert len(np.unique(batch.policy_logp)) > 1
    buffer, provenance = load_buffer(path)
    np.testing.assert_array_equal(buffer.policy_logp[rows], batch.policy_logp)
    assert set(provenance["columns"]) == {"policy_logp", "action_mask"}
    assert provenance["columns"]["policy_logp"]["kind"] == "log probability"
    brackets = provenance["action"]["brackets"]
    assert brackets[:3] == [
        {"order": "hold"}, {"order": "close"}, {"level": 1.0, "stop": -0.02, "target": 0.05},
    ]  # fmt: skip
    assert len(brackets) == 10 and provenance["action"]["type"] == "discrete"


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_levels_have_probabilities_and_no_mask(tmp_path: Path, market_file: str, kind: str) -> None:
    path = tmp_path / "a.hdf5"
    env = {"window_sizes": 6, "leverage": 2, "action_type": kind}
    made = quiet(path, market_file, policy="flat", epsilon=0.5, env=env)
    buffer, _ = load_buffer(path)
    flat = (buffer.act == (2 if kind == "discrete" else 0.0)).reshape(-1)
    own, other = (0.5 + 0.1, 0.1) if kind == "discrete" else (0.5, 0.25)
    np.testing.assert_allclose(buffer.policy_logp, np.log(np.where(flat, own, other)), rtol=1e-5)
    assert "action_mask" not in buffer._meta.get_keys()
    assert set(made.provenance["columns"]) == {"policy_logp"}


def sltp(lanes: int = 30, **arguments: Any) -> VectorSLTPEnv:
    venv = VectorSLTPEnv(
        df=Market(frame()), num_envs=lanes, observation="flat", autoreset_mode="SameStep",
        window_sizes=4, episode_steps=40, **arguments,
    )  # fmt: skip
    venv.reset(seed=3)
    return venv


def drive(venv: VectorSLTPEnv, policy: Any, steps: int = 80) -> list[tuple[Any, Any, Any]]:
    """(Directions before, actions, directions after) of each step; no action is masked."""
    policy.begin(np.ones(venv.num_envs, bool))
    seen = []
    for _ in range(steps):
        before, actions = venv.directions, policy.act()
        assert venv.direction_masks[before, actions].all()
        _, _, terminated, truncated, _ = venv.step(actions)
        policy.begin(terminated | truncated)
        seen.append((before, actions, venv.directions))
    return seen


def test_rules_hold_flip_and_close() -> None:
    """Brackets: hold, close, long (4), short (4); the widest are the fourth and the eighth."""
    venv = sltp(leverage=2, include_close_action=True)
    policy: Any = make_policy("breakout:window=3", venv)
    kinds = set()
    for _ in range(80):
        wanted, held = np.sign(policy._plan[venv.decision_index]), venv.directions
        for level, direction, action in zip(wanted, held, policy.act(), strict=True):
            right = 0 if level == direction else {1: 5, -1: 9, 0: 1}[int(level)]
            assert action == right
            kinds.add((int(level), int(direction)))
        venv.step(policy.act())
    assert kinds >= {(1, 1), (1, 0), (1, -1), (-1, 1), (-1, -1)}
    flat = drive(venv, make_policy("flat", venv))
    assert all((after == 0).all() for _, _, after in flat[1:])


def test_without_a_close_action_stop_and_target_close() -> None:
    venv = sltp()
    seen = drive(venv, make_policy("mean-reversion:window=5", venv))
    assert {x for _, actions, _ in seen for x in actions.tolist()} == {0, 4}


@pytest.mark.parametrize(
    "arguments",
    [{"leverage": 2, "lock_until_exit": True}, {"leverage": 2, "replace_brackets": True}, {}],
)
@pytest.mark.parametrize("name", ["random", "ma-cross:fast=2,slow=5", "buy-and-hold"])
def test_no_rule_takes_what_is_masked(arguments: dict[str, Any], name: str) -> None:
    venv = sltp(**arguments)
    seen = drive(venv, make_policy(name, venv, epsilon=0.3))
    assert len({int(x) for _, actions, _ in seen for x in actions}) > 1


def test_rules_need_an_action_that_holds() -> None:
    venv = sltp(include_hold_action=False, leverage=2)
    drive(venv, make_policy("random", venv))
    with pytest.raises(PolicyError, match="include_hold_action"):
        make_policy("buy-and-hold", venv)


def test_the_command_line(
    tmp_path: Path, market_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.hdf5"
    command = ["--task", "Trade-OneStep-v0", "--market", market_file, "--buffer-size", "200"]
    command += ["--env", "window_sizes=6", "--save-buffer-name", str(path)]
    assert main([*command, "--env", "rollout_steps=5"]) == 0
    assert "200 complete episodes (200 terminated)" in capsys.readouterr().out
    assert main([*command, "--overwrite", "--env", "rollout_steps=700"]) == 2
    assert "Lower --env rollout_steps" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--env", "stop=5"]) == 2
    assert main([*command, "--task", "Trade-Nothing-v0"]) == 2
    assert "expected one of Trade-OneStep-v0, Trade-SLTP-v0" in capsys.readouterr().err
    assert "takeprofit_levels" in environment_help() and "rollout_steps" in environment_help()


def test_a_description_names_the_brackets(tmp_path: Path, market_file: str) -> None:
    path = tmp_path / "a.hdf5"
    quiet(path, market_file, task="Trade-SLTP-v0", env=BRACKETS, shards=2)
    labels = [label for label, _ in report_dataset(path).actions]
    assert labels[:3] == ["0 (hold)", "1 (close)", "2 (+1, -0.02 / +0.05)"]
    assert labels[-1] == "9 (-1, -0.05 / +0.1)"


def test_older_provenance_is_read_and_a_broken_one_refused(
    tmp_path: Path, market_file: str
) -> None:
    made = quiet(tmp_path / "a.hdf5", market_file).provenance
    older = {name: value for name, value in made.items() if name != "columns"}
    kept = ("behavior_return", "behavior_return_std", "complete_episodes", "cut_episodes")
    older["reference"] = {name: made["reference"][name] for name in kept}
    assert find_fault(older) is None and made["format_version"] == 1
    assert find_fault(made | {"columns": []}) == "columns is [], not an object"
    action = made["action"] | {"brackets": "all"}
    assert find_fault(made | {"action": action}) == "action: brackets is no list of objects"
