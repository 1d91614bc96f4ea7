from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import tianshou.algorithm.imitation.discrete_crr as stock
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, ReplayBuffer
from tianshou.utils.torch_utils import policy_within_training_step

from offline_algos import atari_style_crr
from offline_algos.discrete_crr import DiscreteCRR
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.updates import FusedAdam

COLUMNS, ACTIONS, ROWS = 4, 3, 40


class Network(ValueNetwork):
    """Also reads arrays, as Tianshou gives them."""

    def __init__(self, columns: int = COLUMNS):
        super().__init__(Inputs([("obs", 0, columns, (columns,))], hidden_sizes=(16,)), ACTIONS)

    def forward(self, obs, state=None, info=None):
        return super().forward(torch.as_tensor(obs), state)


class Values(Network):
    """Values alone, as Tianshou's critics return them."""

    def forward(self, obs):
        return super().forward(obs)[0]


def build(method=DiscreteCRR, optim=None, columns: int = COLUMNS, critic=Values, **arguments):
    torch.manual_seed(0)
    policy = DiscreteActorPolicy(actor=Network(columns), action_space=spaces.Discrete(ACTIONS))
    optim = optim or FusedAdam(lr=1e-3)
    return method(policy=policy, critic=critic(columns), optim=optim, **arguments)


def transitions() -> ReplayBuffer:
    """Episodes of five steps that terminate and are truncated in turn; the last is unfinished."""
    rng = np.random.default_rng(0)
    made = ReplayBuffer(ROWS, random_seed=1)
    for row in range(ROWS):
        end = ["terminated", "truncated"][row // 5 % 2] if row % 5 == 4 and row < ROWS - 1 else ""
        made.add(
            Batch(
                obs=rng.normal(size=COLUMNS).astype(np.float32),
                obs_next=rng.normal(size=COLUMNS).astype(np.float32),
                act=int(rng.integers(ACTIONS)), rew=float(rng.normal()), info={},
                terminated=end == "terminated", truncated=end == "truncated", done=end != "",
            )
        )  # fmt: skip
    return made


def update(algorithm, buffer, steps: int, size: int = 16) -> None:
    with policy_within_training_step(algorithm.policy):
        for _ in range(steps):
            algorithm.update(buffer, size)


def weights(algorithm) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of the actor and of the critic."""
    return [*algorithm.policy.actor.parameters()], [*algorithm.critic.parameters()]


def fixed_batch(rows: int = 24) -> Batch:
    """Every fifth row ended; ``done`` is for Tianshou."""
    torch.manual_seed(1)
    ended = torch.arange(rows) % 5 == 0
    batch = Batch(
        obs=torch.randn(rows, COLUMNS, dtype=torch.float64),
        obs_next=torch.randn(rows, COLUMNS, dtype=torch.float64),
        rew=2.0 * torch.randn(rows, dtype=torch.float64),
        discount=torch.where(ended, 0.0, 0.9).double(),
        done=ended,
    )
    batch.act = torch.randint(ACTIONS, (rows,))
    return batch


def strong_opinions(algorithm, scale: float = 8.0):
    """Advantages large enough for exp's bound and unequal enough to matter."""
    with torch.no_grad():
        for module in (algorithm.policy.actor, algorithm.critic):
            module.head.weight *= scale
    return algorithm.double()


def reference(algorithm, batch, mode: str, target=None, beta: float = 1.0, bound: float = 20.0):
    """Losses of actor, critic and conservative term, row by row, and each row's advantage.

    `target` are the target networks, actor and critic.
    """
    actor, critic = algorithm.policy.actor, algorithm.critic
    target_actor, target_critic = target or (actor, critic)
    actor_loss, critic_loss, conservative, advantages = 0.0, 0.0, 0.0, []
    rows = len(batch.act)
    for row in range(rows):
        now, then, act = batch.obs[row : row + 1], batch.obs_next[row : row + 1], batch.act[row]
        values, policy = critic(now)[0], actor(now)[0][0].softmax(0)
        with torch.no_grad():
            likelihood, following = target_actor(then)[0][0].softmax(0), target_critic(then)[0]
            ahead = sum(likelihood[a] * following[a] for a in range(ACTIONS))
            aim = batch.rew[row] + batch.discount[row] * ahead
            advantage = float(values[act] - sum(policy[a] * values[a] for a in range(ACTIONS)))
        weight = {
            "exp": min(math.exp(advantage / beta), bound),
            "binary": float(advantage > 0.0),
            "all": 1.0,
        }[mode]
        actor_loss = actor_loss - weight * torch.log(policy[act]) / rows
        critic_loss = critic_loss + 0.5 * (values[act] - aim) ** 2 / rows
        conservative = conservative + (torch.log(values.exp().sum()) - values[act]) / rows
        advantages.append(advantage)
    return actor_loss, critic_loss, conservative, advantages


@pytest.mark.parametrize("mode", ["exp", "binary", "all"])
@pytest.mark.parametrize("min_q_weight", [0.0, 0.5])
def test_losses_and_gradients_are_the_papers(mode, min_q_weight):
    flags = {"beta": 0.7, "ratio_upper_bound": 3.0, "min_q_weight": min_q_weight}
    algorithm = build(
        optim=FusedAdam(lr=0.0), policy_improvement_mode=mode, target_update_freq=5, **flags
    )
    strong_opinions(algorithm)
    algorithm._iter = 1  # the target networks are not renewed at this step
    target = Network().double(), Values().double()
    algorithm.actor_old.module.load_state_dict(target[0].state_dict())
    algorithm.critic_old.module.load_state_dict(target[1].state_dict())
    batch = fixed_batch()
    actor_loss, critic_loss, conservative, advantages = reference(
        algorithm, batch, mode, target, beta=0.7, bound=3.0
    )
    ratios = np.exp(np.array(advantages) / 0.7)
    assert (ratios > 3.0).any() and (ratios < 1.0).any()  # the batch has every case
    of_actor, of_critic = weights(algorithm)
    expected = [
        *torch.autograd.grad(actor_loss, of_actor),
        *torch.autograd.grad(critic_loss + min_q_weight * conservative, of_critic),
    ]

    stats = algorithm._update_with_batch(batch)
    assert stats.actor_loss == pytest.approx(actor_loss.item(), abs=1e-12)
    assert stats.critic_loss == pytest.approx(critic_loss.item(), abs=1e-12)
    assert stats.cql_loss == pytest.approx(conservative.item() if min_q_weight else 0.0, abs=1e-12)
    total = actor_loss + critic_loss + min_q_weight * conservative
    assert stats.loss == pytest.approx(total.item(), abs=1e-12)
    for weight, gradient in zip([*of_actor, *of_critic], expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-9, atol=1e-12)


def gradients(method, mode: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of actor and critic after a step on the fixed batch."""
    algorithm = build(
        method, AdamOptimizerFactory(lr=0.0), policy_improvement_mode=mode, gamma=0.9,
        min_q_weight=0.0,
    )  # fmt: skip
    strong_opinions(algorithm)._update_with_batch(fixed_batch())
    of_actor, of_critic = weights(algorithm)
    return [w.grad for w in of_actor], [w.grad for w in of_critic]


def expected_gradients(mode: str):
    algorithm = strong_opinions(build())
    actor_loss, critic_loss, _, advantages = reference(algorithm, fixed_batch(), mode)
    of_actor, of_critic = weights(algorithm)
    made = torch.autograd.grad(actor_loss, of_actor), torch.autograd.grad(critic_loss, of_critic)
    return *made, advantages


def test_tianshou_weights_each_action_with_all_rows_advantages():
    of_actor, _, advantages = expected_gradients("binary")
    cloning, _, _ = expected_gradients("all")
    share = np.mean(np.array(advantages) > 0.0)
    assert 0.2 < share < 0.8
    theirs, _ = gradients(stock.DiscreteCRR, "binary")
    ours, _ = gradients(DiscreteCRR, "binary")
    for mine, its, right, clone in zip(ours, theirs, of_actor, cloning, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(its, share * clone, rtol=1e-6, atol=1e-9)
        assert (its - right).abs().max() > 0.1 * right.abs().max()


def test_tianshou_trains_the_critic_with_the_actors_loss():
    _, of_critic, _ = expected_gradients("exp")
    _, theirs = gradients(stock.DiscreteCRR, "exp")
    _, ours = gradients(DiscreteCRR, "exp")
    for mine, its, right in zip(ours, theirs, of_critic, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-12)
        assert (its - right).abs().max() > 0.1 * right.abs().max()


def test_targets_bootstrap_through_truncation_and_tianshous_do_not():
    plain, rows = transitions(), np.array([4, 9])
    assert plain.terminated[rows].tolist() == [True, False]
    assert plain.truncated[rows].tolist() == [False, True]
    ours, theirs = build(gamma=0.5), build(stock.DiscreteCRR, gamma=0.5)
    with torch.no_grad():
        likelihood = ours.policy.actor(plain.obs_next[9:10])[0].softmax(1)
        ahead = 0.5 * (likelihood * ours.critic(plain.obs_next[9:10])).sum().item()
        chosen = ours.critic(plain.obs[rows])[[0, 1], plain.act[rows]].numpy()
    assert abs(ahead) > 1e-2
    batch = ours.process_buffer(transitions()).rows(rows)
    expected = plain.rew[rows] + [0.0, ahead]
    assert ours._returns(batch).tolist() == pytest.approx(expected, abs=1e-6)

    right = 0.5 * np.mean((chosen - expected) ** 2)
    assert ours._update_with_batch(batch).critic_loss == pytest.approx(right, abs=1e-6)
    wrong = 0.5 * np.mean((chosen - plain.rew[rows]) ** 2)
    assert abs(wrong - right) > 1e-3
    assert theirs._update_with_batch(plain[rows]).critic_loss == pytest.approx(wrong, abs=1e-6)


def test_fifty_steps_of_cloning_and_conservative_values_are_those_of_tianshou():
    """In this mode, and where nothing is truncated, Tianshou has the same mathematics."""
    made = []
    for method, optim, critic in (
        (DiscreteCRR, FusedAdam(lr=1e-3), Network),
        (stock.DiscreteCRR, AdamOptimizerFactory(lr=1e-3), Values),
    ):
        algorithm = build(
            method, optim, critic=critic, policy_improvement_mode="all", min_q_weight=2.0,
            gamma=0.9, target_update_freq=7,
        )  # fmt: skip
        before = [value.clone() for value in algorithm.parameters()]
        buffer = transitions()
        buffer._meta.truncated[:] = False
        buffer._meta.done[:] = buffer.terminated
        update(algorithm, algorithm.process_buffer(buffer), 50)
        made.append([value.detach() for value in algorithm.parameters()])
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(made[-1], before, strict=True))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-6)


def chain() -> ReplayBuffer:
    """Action 1 twice earns 1, which the data rarely does; action 0 ends with 0.5, then 0."""
    made, eye = ReplayBuffer(100), np.eye(2, dtype=np.float32)
    for row in range(100):
        state, action = row % 2, int(row % 10 >= 8)
        over = not (state == 0 and action == 1)
        made.add(
            Batch(
                obs=eye[state], obs_next=eye[1], act=action,
                rew=[[0.5, 0.0], [0.0, 1.0]][state][action],
                terminated=over, truncated=False, done=over, info={},
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("mode", ["exp", "binary"])
def test_it_learns_the_better_action_and_tianshou_does_not(mode):
    def choices(method, optim, mode):
        algorithm = build(
            method, optim, columns=2, gamma=0.9, beta=0.1, policy_improvement_mode=mode,
            min_q_weight=0.0, target_update_freq=5,
        )  # fmt: skip
        update(algorithm, algorithm.process_buffer(chain()), 300, 64)
        return algorithm.policy.actor(torch.eye(2))[0].argmax(1).tolist()

    assert choices(DiscreteCRR, FusedAdam(lr=1e-2), mode) == [1, 1]
    assert choices(DiscreteCRR, FusedAdam(lr=1e-2), "all") == [0, 0]
    theirs = choices(stock.DiscreteCRR, AdamOptimizerFactory(lr=1e-2), mode)
    if mode == "binary":
        assert theirs == [0, 0]  # cloning
    else:
        assert 1 not in theirs  # the actor's loss has bent the critic as well


@pytest.mark.parametrize("freq", [0, 4])
def test_a_run_repeats_itself_and_goes_on_from_its_state(freq):
    def start():
        algorithm = build(target_update_freq=freq)
        return algorithm, algorithm.process_buffer(transitions())

    ends = []
    for _ in range(2):
        algorithm, buffer = start()
        update(algorithm, buffer, 10)
        state = copy.deepcopy(algorithm.state_dict())
        numbers = {k: v for k, v in vars(algorithm).items() if type(v) in (int, float, bool)}
        random = buffer._random_state.get_state()
        update(algorithm, buffer, 10)
        ends.append([value.clone() for value in algorithm.parameters()])
    algorithm, buffer = start()
    update(algorithm, buffer, 3)  # what it has done before is forgotten
    algorithm.load_state_dict(state)
    vars(algorithm).update(numbers)
    buffer._random_state.set_state(random)
    update(algorithm, buffer, 10)
    ends.append([*algorithm.parameters()])
    for first, second, resumed in zip(*ends, strict=True):
        assert torch.equal(first, second) and torch.equal(first, resumed)


def test_the_conservative_term_is_off_unless_asked_for():
    algorithm = strong_opinions(build())
    stats = algorithm._update_with_batch(fixed_batch())
    assert stats.cql_loss == 0.0
    assert stats.loss == pytest.approx(stats.actor_loss + stats.critic_loss)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="'best': choose one of"):
        build(policy_improvement_mode="best")


def test_the_flags_reach_the_algorithm():
    box = spaces.Box(-np.inf, np.inf, (COLUMNS,), np.float32)
    setup = SimpleNamespace(
        inputs=Inputs([("obs", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(8,)),
        normaliser=Normaliser.identity(COLUMNS),
        task=SimpleNamespace(action_space=spaces.Discrete(ACTIONS), observation_space=box),
    )
    parser = atari_style_crr.make_parser()
    flags = ["--load-buffer-name", "x", "--device", "cpu"]
    assert parser.parse_args(flags).min_q_weight == 0.0
    args = parser.parse_args(
        [*flags, "--gamma", "0.7", "--target-update-freq", "9", "--lr", "0.01", "--beta", "0.4",
         "--ratio-upper-bound", "5", "--min-q-weight", "3", "--policy-improvement-mode", "binary"]
    )  # fmt: skip
    algorithm, actor = atari_style_crr.build(args, setup)
    assert (algorithm.gamma, algorithm._freq, algorithm._beta) == (0.7, 9, 0.4)
    assert (algorithm._ratio_upper_bound, algorithm._min_q_weight) == (5.0, 3.0)
    assert algorithm._policy_improvement_mode == "binary"
    assert algorithm.optim._optim.param_groups[0]["lr"] == 0.01
    assert actor.network is algorithm.policy.actor


@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--beta", "0"), "above 0"), (("--ratio-upper-bound", "0"), "above 0"),
     (("--min-q-weight", "-1"), "at least 0"), (("--policy-improvement-mode", "best"), "best")],
)  # fmt: skip
def test_bad_flags_are_errors(flags, message, capsys):
    assert atari_style_crr.main(["--load-buffer-name", "x", *flags]) == 2
    error = capsys.readouterr().err
    assert flags[0] in error and message in error
