"""Brackets and one-step rollouts through the scripts: trained, judged, recorded, and kept apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_tools.collect import collect
from data_tools.hdf5 import load_buffer
from gym_trade import Market, OneStepConfig, SLTPConfig, VectorOneStepEnv, VectorSLTPEnv
from offline_algos.actors import ActionMasks, GreedyActor
from offline_algos.checkpoint import load_policy
from offline_algos.discrete_bcq import ConstrainedActor
from offline_algos.evaluation import evaluate, evaluate_rule, evaluation_environment, walk
from offline_algos.export import export_torchscript
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.vector_env import TradeVectorEnv
from tests.offline_algos import samples, scripts, trained
from tests.offline_algos.conftest import ENV

BRACKETS = {"leverage": 2, "include_close_action": True, "stoploss_levels": [-0.001, -0.003]}
BRACKETS |= {"takeprofit_levels": [0.002], "transaction_fee": 0.0}
TASKS = {"Trade-SLTP-v0": {}, "Trade-OneStep-v0": {"rollout_steps": 6}}
SMALL = {key: value for key, value in samples.SMALL.items()}


@pytest.fixture(scope="module")
def datasets(market_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("brackets"), {}
    for task, more in TASKS.items():
        made[task] = folder / f"{task}.hdf5"
        collect(
            made[task], buffer_size=600, task=task, market=str(market_file), num_envs=8,
            policy="breakout:window=4+random", epsilon=0.1, env=ENV | BRACKETS | more,
            episode_steps=None if more else 60, progress=False, echo=None,
        )  # fmt: skip
    return made


def config(task: str, **more: Any) -> Any:
    kind = OneStepConfig if task == "Trade-OneStep-v0" else SLTPConfig
    return kind(df=Market(samples.frame()), **(SMALL | BRACKETS | TASKS[task] | more))


def masked_steps(policy: Any, period: dict[str, Any], conf: Any) -> tuple[int, int]:
    """Decisions of a policy over a period, and how many of them the environment masked."""
    environment = evaluation_environment(conf, period["start"], period["end"])
    masks, counts = environment.direction_masks, [0, 0]

    def act(observations: Any) -> Any:
        actions = policy.act(observations)
        counts[0] += 1
        counts[1] += int(masks[environment.directions[0]][actions[0]] == 0)
        return actions

    walk(environment, act, listener=policy.actor)
    return counts[0], counts[1]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["il", "cql", "bcq", "crr", "iql", "dt"])
def test_scripts_train_and_are_judged(
    tmp_path: Path, datasets: dict[str, Path], task: str, method: str
) -> None:
    name = f"atari_style_{method}"
    assert scripts.run(name, datasets[task], tmp_path, "--logger", "none") == 0
    directory, result = scripts.only_result(tmp_path)
    assert result["task"] == task and result["action_space"]["n"] == 6
    assert result["action_space"]["brackets"][1] == {"order": "close"}
    tested = result["test"]
    assert {"flat", "buy-and-hold", "random"} <= set(tested["baselines"])
    assert tested["baselines"]["flat"]["return"] == 0.0
    assert tested["baselines"]["behaviour breakout:window=4"]["metrics"]["n_trades"] > 0
    policy = load_policy(directory / "policy.pth")
    decisions, masked = masked_steps(policy, result["evaluation"]["test"], config(task))
    assert decisions == tested["best"]["steps"] and masked == 0
    again = evaluate(
        policy.act, config(task), *(result["evaluation"]["test"][x] for x in ("start", "end")),
        listener=policy.actor,
    )  # fmt: skip
    assert again["return"] == pytest.approx(tested["best"]["return"])


def walked_rewards(environment: Any, actions: np.ndarray) -> tuple[list[float], list[int]]:
    """Rewards of a walk with these actions, and the instants between its steps."""
    environment.reset(seed=0)
    rewards, instants, over = [], [int(environment.decision_index[0])], False
    for action in actions:
        _, reward, terminated, truncated, _ = environment.step(np.array([action]))
        rewards.append(float(reward[0]))
        instants.append(int(environment.decision_index[0]))
        over = bool(terminated[0] or truncated[0])
        if over:
            break
    assert over
    return rewards, instants


def test_a_walk_is_the_rollouts_one_after_the_other() -> None:
    """Each is what the environment itself gives from that instant; none overlaps another."""
    conf = config("Trade-OneStep-v0", transaction_fee=0.0004, slippage=0.0002)
    environment = evaluation_environment(conf, "2020-01-02", "2020-01-02 12:00")
    actions = np.random.default_rng(0).choice([0, 2, 3, 4, 5], 500)
    rewards, instants = walked_rewards(environment, actions)
    low, high = environment.decision_range
    assert (instants[0], instants[-1]) == (low, high)
    lengths = np.diff(instants)
    assert set(lengths.tolist()) >= {1, 6} and lengths.max() == 6
    final = environment.portfolio_value[0]
    assert sum(rewards) == pytest.approx(np.log(final / 10_000))
    times = environment.decision_times
    for number in range(0, len(rewards) - 1, 7):
        alone = VectorOneStepEnv(
            conf.replace(random_start=False, start=times[instants[number]]), num_envs=1,
            autoreset_mode="Disabled",
        )  # fmt: skip
        alone.reset(seed=1)
        _, reward, *_ = alone.step(actions[number : number + 1])
        assert reward[0] == pytest.approx(rewards[number], abs=1e-12)
        assert alone.decision_index[0] == instants[number + 1]


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def begin(self, lanes: Any) -> None:
        self.heard.append("begin")

    def observe(self, lanes: Any, rewards: Any) -> None:
        self.heard.append("earned")


@pytest.mark.parametrize("task", TASKS)
def test_a_rollout_is_an_episode_to_a_policy_that_remembers(task: str) -> None:
    """As in the data, whose episodes are single rollouts."""
    after = ["earned", "begin"] if task == "Trade-OneStep-v0" else ["earned"]
    environment = evaluation_environment(config(task), "2020-01-02", "2020-01-02 06:00")
    listener: Any = Listener()
    steps = walk(environment, lambda _: np.array([2]), listener=listener)["steps"]
    assert listener.heard == ["begin", *after * steps] and steps > 5
    listener.heard.clear()
    collected = TradeVectorEnv(environment, listener=listener)
    collected.reset()
    for _ in range(3):
        collected.step(np.array([2]))
    assert listener.heard == ["begin", *after * 3]


def test_a_walk_that_leaves_positions_open_is_that_of_held_brackets() -> None:
    """Without the close at a rollout's end: the same as SLTP with its actions, then hold."""
    conf = config("Trade-OneStep-v0", close_at_end=False)
    environment = evaluation_environment(conf, "2020-01-02", "2020-01-02 12:00")
    rewards, instants = walked_rewards(environment, np.resize([2, 0, 4, 5, 1], 500))
    fields = {k: v for k, v in SMALL.items()} | BRACKETS
    other = VectorSLTPEnv(
        SLTPConfig(df=conf.df, **fields, random_start=False, start="2020-01-02",
                   end="2020-01-02 12:00"),
        num_envs=1, autoreset_mode="Disabled",
    )  # fmt: skip
    other.reset(seed=0)
    for number, reward in enumerate(rewards):
        total = 0.0
        for step in range(instants[number + 1] - instants[number]):
            action = np.resize([2, 0, 4, 5, 1], 500)[number] if step == 0 else 0
            total += float(other.step(np.array([action]))[1][0])
        assert total == pytest.approx(reward, abs=1e-12)


def test_a_walk_ends_bankrupt() -> None:
    conf = config("Trade-OneStep-v0", transaction_fee=0.2)
    made = evaluate_rule("random", conf, "2020-01-02", "2020-01-03")
    assert made["terminated"] and made["equity"][-1] < 1_000
    assert len(made["equity"]) == made["steps"] + 1 == len(made["times"])
    assert (np.diff(made["times"].astype(np.int64)) > 0).all()
    whole = evaluate_rule("flat", conf, "2020-01-02", "2020-01-03")
    assert not whole["terminated"] and whole["steps"] == 288


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_policy_of_brackets_acts_on_new_bars(tmp_path: Path, datasets: dict[str, Path]) -> None:
    """In a long position none of the long brackets; what it asks for; exported alike."""
    from gym_trade import account_state

    task = "Trade-SLTP-v0"
    directory = trained.train("atari_style_il", datasets[task], tmp_path, "--epoch", "1")
    policy = load_policy(directory / "policy.pth")
    bars = samples.frame().iloc[:2000]
    kwargs = {"cash": 10_000.0, "price": float(bars.close.iloc[-1])}
    with torch.no_grad():  # whatever it saw: the long brackets are what it likes best
        policy.actor.network.head.bias[2:4] += 100.0
    flat = policy.act(bars, account_state(config(task), **kwargs))
    state = account_state(config(task), **kwargs, position=1.0, entry_price=kwargs["price"])
    assert int(flat) in (2, 3) and int(policy.act(bars, state)) not in (2, 3)
    np.testing.assert_array_equal(
        policy.exposure(np.arange(6)), [np.nan, 0.0, 2.0, 2.0, -2.0, -2.0]
    )
    export_torchscript(policy, tmp_path / "policy.pt")
    exported = torch.jit.load(str(tmp_path / "policy.pt"))
    rows = torch.as_tensor(load_buffer(datasets[task])[0].obs[:300])
    np.testing.assert_array_equal(exported(rows), policy.act(rows.numpy()))


def test_a_recorded_policy_draws_what_is_allowed_and_says_how_likely(
    tmp_path: Path, datasets: dict[str, Path]
) -> None:
    task = "Trade-SLTP-v0"
    directory = trained.train("atari_style_il", datasets[task], tmp_path, "--epoch", "1")
    flags = ["--resume-path", directory, "--eps-test", "0.3", "--buffer-size", "300"]
    path = tmp_path / "recorded.hdf5"
    assert trained.use("atari_style_il", "--watch", *flags, "--save-buffer-name", path) == 0
    buffer, provenance = load_buffer(path)
    rows = np.arange(len(buffer))
    assert buffer.action_mask[rows, buffer.act].all()
    own = load_policy(directory / "policy.pth").act(buffer.obs) == buffer.act
    drawn = 0.3 / buffer.action_mask.sum(1)
    np.testing.assert_allclose(np.exp(buffer.policy_logp), drawn + 0.7 * own, rtol=1e-5)
    assert 0.5 < own.mean() < 0.95
    assert provenance["columns"].keys() == {"policy_logp", "action_mask"}
    assert trained.use("atari_style_il", "--watch", *flags[:2]) == 0


def test_datasets_of_other_actions_are_refused(
    tmp_path: Path, datasets: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = datasets["Trade-SLTP-v0"]
    for flags, part in (
        (["--task", "Trade-OneStep-v0"], "made in Trade-SLTP-v0, whose actions are others"),
        (["--task", "Trade-Sequential-v0"], "made in Trade-SLTP-v0, whose actions are others"),
        (["--env", "takeprofit_levels=[0.003]"], "other brackets than the evaluation"),
        (["--env", "include_close_action=false"], "other brackets than the evaluation"),
    ):
        assert scripts.run("atari_style_il", data, tmp_path, *flags) == 2
        assert part in capsys.readouterr().err
    assert scripts.run("d4rl_style_il", data, tmp_path) == 2
    assert "Take an atari_style script" in capsys.readouterr().err


def test_pictures_of_rollouts_are_refused(
    tmp_path: Path, datasets: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = datasets["Trade-OneStep-v0"]
    directory = trained.train("atari_style_il", data, tmp_path, "--epoch", "1")
    flags = ["--watch", "--resume-path", directory]
    error = trained.refusal(capsys, "atari_style_il", *flags, "--render", tmp_path / "a.png")
    assert "no picture shows" in error
    assert trained.use("atari_style_il", *flags) == 0


@pytest.mark.parametrize("kind", ["greedy", "constrained"])
def test_masks_outrank_values(kind: str) -> None:
    rows = [[1, 0, 1], [0, 1, 1], [1, 1, 0]]  # flat, long, short
    inputs = Inputs([("all", 0, 7, (7,))], hidden_sizes=(4,))
    network, imitator = ValueNetwork(inputs, 3), ValueNetwork(inputs, 3)
    normaliser = Normaliser.identity(7)
    actor: Any = GreedyActor(normaliser, network, rows)
    if kind == "constrained":
        actor = ConstrainedActor(normaliser, network, imitator, 0.0, rows)
    observations = torch.zeros(3, 7)
    observations[:, -5] = torch.tensor([0.0, 1.0, -1.0])
    for best in range(3):
        with torch.no_grad():
            for one in (network, imitator):
                one.head.weight.zero_()
                one.head.bias.copy_(torch.tensor([0.1, 0.2, 0.3]) + 5.0 * torch.eye(3)[best])
        chosen = actor(observations).tolist()
        allowed = [np.flatnonzero(row) for row in rows]
        assert all(action in row for action, row in zip(chosen, allowed, strict=True))
        assert all(best == a for a, row in zip(chosen, allowed, strict=True) if best in row)
    rebuilt = type(actor).build(normaliser, **json.loads(json.dumps(actor.arguments)))
    assert rebuilt.masks.rows == rows
    assert list(actor.state_dict()) == list(type(actor).build(
        normaliser, **{k: v for k, v in actor.arguments.items() if k != "masks"}
    ).state_dict())  # fmt: skip


def test_no_masks_change_nothing() -> None:
    values = torch.randn(4, 3)
    assert ActionMasks(None)(values, torch.zeros(4, 9)) is values
    assert ActionMasks(None).arguments == {}
