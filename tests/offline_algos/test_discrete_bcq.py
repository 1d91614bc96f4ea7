from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm.imitation.discrete_bcq as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from offline_algos import atari_style_bcq
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.discrete_bcq import ConstrainedActor, DiscreteBCQ
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser, Statistics
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

COLUMNS, ACTIONS, ROWS = 4, 3, 40


class Network(ValueNetwork):
    """Also reads arrays, as Tianshou gives them."""

    def __init__(self, columns: int = COLUMNS, hidden: int = 16):
        layout = [("obs", 0, columns, (columns,))]
        super().__init__(Inputs(layout, hidden_sizes=(hidden, hidden)), ACTIONS)

    def forward(self, obs, state=None, info=None):
        return super().forward(torch.as_tensor(obs), state)


def build(
    method=DiscreteBCQ, optim=None, columns: int = COLUMNS, threshold: float = 0.3, **arguments
):
    torch.manual_seed(0)
    policy = stock.DiscreteBCQPolicy(
        model=Network(columns),
        imitator=Network(columns),
        unlikely_action_threshold=threshold,
        action_space=spaces.Discrete(ACTIONS),
    )
    return method(policy=policy, optim=optim or FusedAdam(lr=1e-3), **arguments)


def update(algorithm, buffer, steps: int, size: int = 16) -> None:
    with policy_within_training_step(algorithm.policy):
        for _ in range(steps):
            algorithm.update(buffer, size)


def parameters(algorithm) -> list[torch.Tensor]:
    return [value.clone() for value in algorithm.policy.state_dict().values()]


def fixed_batch(rows: int = 24) -> SimpleNamespace:
    torch.manual_seed(1)
    discount = torch.full((rows,), 0.9, dtype=torch.float64)
    discount[::5] = 0.0
    return SimpleNamespace(
        obs=torch.randn(rows, COLUMNS, dtype=torch.float64),
        obs_next=torch.randn(rows, COLUMNS, dtype=torch.float64),
        act=torch.randint(ACTIONS, (rows,)),
        rew=2.0 * torch.randn(rows, dtype=torch.float64),
        discount=discount,
    )


def test_loss_and_gradients_are_the_papers():
    threshold, penalty = 0.8, 0.3
    algorithm = build(
        optim=FusedAdam(lr=0.0), threshold=threshold, imitation_logits_penalty=penalty
    ).double()
    model, imitator, target = algorithm.policy.model, algorithm.policy.imitator, Network().double()
    algorithm.model_old.module.load_state_dict(target.state_dict())
    batch = fixed_batch()
    losses, masked, linear = [], 0, 0
    for row in range(len(batch.act)):
        now, then = batch.obs[row : row + 1], batch.obs_next[row : row + 1]
        with torch.no_grad():
            share = imitator(then)[0][0].softmax(0)
            likely = [a for a in range(ACTIONS) if share[a] / share.max() >= threshold]
            best = max(likely, key=lambda action: model(then)[0][0, action].item())
            masked += best != model(then)[0][0].argmax()
            aim = batch.rew[row] + batch.discount[row] * target(then)[0][0, best]
        gap = (model(now)[0][0, batch.act[row]] - aim).abs()
        linear += bool(gap >= 1)
        logits = imitator(now)[0][0]
        surprise = -torch.log(logits.softmax(0)[batch.act[row]])
        huber = 0.5 * gap**2 if gap < 1 else gap - 0.5
        losses.append(huber + surprise + penalty * (logits**2).sum() / ACTIONS)
    assert masked and 0 < linear < len(losses)  # the batch has every case
    expected = sum(losses) / len(losses)
    weights = [*model.parameters(), *imitator.parameters()]
    gradients = torch.autograd.grad(expected, weights)

    stats = algorithm._update_with_batch(batch)
    assert stats.loss == pytest.approx(expected.item(), abs=1e-12)
    assert stats.loss == pytest.approx(stats.q_loss + stats.i_loss + penalty * stats.reg_loss)
    for weight, gradient in zip(weights, gradients, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_step", [1, 3])
def test_fifty_steps_are_those_of_tianshou(n_step):
    flags = {"n_step_return_horizon": n_step, "target_update_freq": 7, "gamma": 0.9}
    made = []
    for method, optim in (
        (DiscreteBCQ, FusedAdam(lr=1e-3)),
        (stock.DiscreteBCQ, AdamOptimizerFactory(lr=1e-3)),
    ):
        algorithm = build(method, optim, threshold=0.8, **flags)
        before = parameters(algorithm)
        update(algorithm, algorithm.process_buffer(batches.short_episodes()), 50)
        made.append([*parameters(algorithm), *algorithm.model_old.state_dict().values()])
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(made[-1], before, strict=False))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-6)


def test_targets_bootstrap_through_truncation_and_not_through_termination():
    algorithm = build(gamma=0.5)
    plain = batches.short_episodes()
    batch = algorithm.process_buffer(batches.short_episodes()).rows(np.array([4, 9]))
    assert plain.terminated[[4, 9]].tolist() == [True, False]
    assert plain.truncated[[4, 9]].tolist() == [False, True]
    with torch.no_grad():
        values, logits = (net(plain.obs_next[9:10])[0][0] for net in
                          (algorithm.policy.model, algorithm.policy.imitator))  # fmt: skip
    share = logits.softmax(0)
    best = max(values[share / share.max() >= 0.3].tolist())
    expected = [plain.rew[4], plain.rew[9] + 0.5 * best]
    assert algorithm._returns(batch).tolist() == pytest.approx(expected, abs=1e-6)


def test_without_a_target_network_the_network_itself_is_used():
    algorithm = build(target_update_freq=0)
    update(algorithm, algorithm.process_buffer(batches.short_episodes()), 3)
    assert not hasattr(algorithm, "model_old")
    broken = build(stock.DiscreteBCQ, target_update_freq=0)
    with pytest.raises((ZeroDivisionError, AttributeError)):
        update(broken, batches.short_episodes(), 1)


def chain() -> ReplayBuffer:
    """Action 1 twice earns 1, action 0 half of it at once or nothing; action 2 never is taken."""
    rows = [(0, 0, 0.5, 0), (0, 1, 0.0, 1), (1, 0, 0.0, 0), (1, 1, 1.0, 0)]
    made = ReplayBuffer(64)
    for row in range(64):
        state, action, reward, following = rows[row % 4]
        over = not (state == 0 and action == 1)
        eye = np.eye(2, dtype=np.float32)
        made.add(
            Batch(
                obs=eye[state], obs_next=eye[following], act=action, rew=reward,
                terminated=over, truncated=False, done=over, info={},
            )
        )  # fmt: skip
    return made


def test_it_learns_the_better_of_the_actions_that_the_data_shows():
    algorithm = build(
        optim=FusedAdam(lr=1e-2), columns=2, gamma=0.9, target_update_freq=10,
        imitation_logits_penalty=0.0,
    )  # fmt: skip
    model, imitator = algorithm.policy.model, algorithm.policy.imitator
    with torch.no_grad():
        model.head.bias[2] += 5.0  # what a network might think of an action that it never saw
    update(algorithm, algorithm.process_buffer(chain()), 400, 32)
    states = torch.eye(2)
    values = model(states)[0]
    torch.testing.assert_close(
        values[:, :2], torch.tensor([[0.5, 0.9], [0.0, 1.0]]), atol=0.05, rtol=0.0
    )
    assert values.argmax(1).tolist() == [2, 2]
    actor = ConstrainedActor(Normaliser.identity(2), model, imitator, 0.3)
    assert actor(states).tolist() == [1, 1]


def test_a_run_repeats_itself_and_goes_on_from_its_state():
    def start():
        algorithm = build(target_update_freq=4)
        return algorithm, algorithm.process_buffer(batches.short_episodes())

    ends = []
    for _ in range(2):
        algorithm, buffer = start()
        update(algorithm, buffer, 10)
        state = copy.deepcopy(algorithm.state_dict())
        numbers = {k: v for k, v in vars(algorithm).items() if type(v) in (int, float, bool)}
        random = buffer._random_state.get_state()
        update(algorithm, buffer, 10)
        ends.append([*parameters(algorithm), *algorithm.model_old.state_dict().values()])
    algorithm, buffer = start()
    update(algorithm, buffer, 3)  # what it has done before is forgotten
    algorithm.load_state_dict(state)
    vars(algorithm).update(numbers)
    buffer._random_state.set_state(random)
    update(algorithm, buffer, 10)
    ends.append([*parameters(algorithm), *algorithm.model_old.state_dict().values()])
    for first, second, resumed in zip(*ends, strict=True):
        assert torch.equal(first, second) and torch.equal(first, resumed)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_the_actor_acts_as_tianshous_policy(threshold, tmp_path):
    policy = build(threshold=threshold).policy
    with torch.no_grad():
        policy.imitator.head.weight *= 10.0  # opinions strong enough for either threshold
    statistics = Statistics(np.arange(4.0), np.array([1.0, 2.0, 0.5, 3.0]))
    observations = np.random.default_rng(0).normal(size=(500, COLUMNS)).astype(np.float32)
    expected = policy(Batch(obs=Normaliser(statistics)(observations), info={})).act
    greedy = policy.model(Normaliser(statistics)(observations))[0].argmax(1)
    assert torch.equal(expected, greedy) == (threshold == 0.0)

    actor = ConstrainedActor(Normaliser(statistics), policy.model, policy.imitator, threshold)
    assert torch.equal(actor(torch.as_tensor(observations)), expected)
    save_policy(tmp_path / "policy.pth", actor, {})
    loaded = load_policy(tmp_path / "policy.pth")
    np.testing.assert_array_equal(loaded.act(observations), expected.numpy())


def parse(*flags: str):
    return atari_style_bcq.make_parser().parse_args(["--load-buffer-name", "x", *flags])


def test_the_flags_reach_the_algorithm_and_the_actor():
    box = spaces.Box(-np.inf, np.inf, (COLUMNS,), np.float32)
    setup = SimpleNamespace(
        inputs=Inputs([("obs", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(8,)),
        normaliser=Normaliser.identity(COLUMNS),
        task=SimpleNamespace(
            action_space=spaces.Discrete(ACTIONS), observation_space=box, action_masks=None
        ),
    )
    args = parse(
        "--gamma", "0.7", "--n-step", "2", "--target-update-freq", "9", "--lr", "0.01",
        "--unlikely-action-threshold", "0.4", "--imitation-logits-penalty", "0.5",
        "--device", "cpu",
    )  # fmt: skip
    algorithm, actor = atari_style_bcq.build(args, setup)
    assert (algorithm.gamma, algorithm.n_step, algorithm.freq) == (0.7, 2, 9)
    assert algorithm._weight_reg == 0.5
    assert algorithm.policy._log_tau == actor.log_threshold == math.log(0.4)
    assert algorithm.optim._optim.param_groups[0]["lr"] == 0.01
    trained = {id(p) for group in algorithm.optim._optim.param_groups for p in group["params"]}
    assert trained == {id(p) for p in actor.parameters()}


@pytest.mark.parametrize(
    "flags",
    [("--unlikely-action-threshold", "1"), ("--imitation-logits-penalty", "-1"),
     ("--target-update-freq", "-1"), ("--n-step", "0")],
)  # fmt: skip
def test_bad_flags_are_errors(flags, capsys):
    assert atari_style_bcq.main(["--load-buffer-name", "x", *flags]) == 2
    assert f"{flags[0]}: expected" in capsys.readouterr().err
