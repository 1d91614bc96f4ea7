from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import TorchOptimizerFactory
from tianshou.data import Batch, ReplayBuffer

from offline_algos import atari_style_iql
from offline_algos.discrete_iql import DiscreteIQL
from offline_algos.implicit_q import expectile_loss
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.updates import FusedAdam
from tests.offline_algos import batches

COLUMNS, ACTIONS, ROWS = 4, 3, 40
NETWORKS = ("actor", "critic", "critic2", "value", "critic_old", "critic2_old")


def network(columns: int = COLUMNS, numbers: int = ACTIONS) -> ValueNetwork:
    inputs = Inputs([("obs", 0, columns, (columns,))], hidden_sizes=(16,))
    return ValueNetwork(inputs, numbers)


def build(optim=None, columns: int = COLUMNS, **arguments) -> DiscreteIQL:
    torch.manual_seed(0)
    optim = optim or FusedAdam(lr=1e-3)
    return DiscreteIQL(
        policy=DiscreteActorPolicy(actor=network(columns), action_space=spaces.Discrete(ACTIONS)),
        critic=network(columns), critic2=network(columns), value=network(columns, 1),
        policy_optim=optim, critic_optim=optim, value_optim=optim, **arguments,
    )  # fmt: skip


def networks(algorithm) -> dict[str, torch.nn.Module]:
    made = {name: getattr(algorithm, name, algorithm.policy.actor) for name in NETWORKS}
    return {name: getattr(net, "module", net) for name, net in made.items()}


def state(algorithm) -> list[torch.Tensor]:
    return [
        value.detach().clone()
        for net in networks(algorithm).values()
        for value in net.state_dict().values()
    ]


def update(algorithm, buffer, steps: int, size: int = 16) -> None:
    for _ in range(steps):
        algorithm.update(buffer, size)


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


def lesser(nets, batch, row: int) -> float:
    """The lesser of the two target networks' values of the data's action."""
    obs, act = batch.obs[row : row + 1], batch.act[row]
    return min(nets[name](obs)[0][0, act].item() for name in ("critic_old", "critic2_old"))


def value_loss(nets, batch, expectile: float):
    """Equation 5, row by row."""
    losses = []
    for row in range(len(batch.act)):
        gap = lesser(nets, batch, row) - nets["value"](batch.obs[row : row + 1])[0][0, 0]
        losses.append((1.0 - expectile if gap < 0 else expectile) * gap**2)
    return sum(losses) / len(losses)


def actor_loss(nets, batch, temperature: float, clip: float):
    """Equation 7, row by row, and the weights before they are clipped."""
    losses, ratios = [], []
    for row in range(len(batch.act)):
        obs = batch.obs[row : row + 1]
        advantage = lesser(nets, batch, row) - nets["value"](obs)[0][0, 0].item()
        ratios.append(np.exp(temperature * advantage))
        likelihood = nets["actor"](obs)[0][0].softmax(0)[batch.act[row]]
        losses.append(-min(ratios[-1], clip) * torch.log(likelihood))
    return sum(losses) / len(losses), np.array(ratios)


def critic_loss(nets, batch):
    """Equation 6 for both critics, row by row."""
    losses = []
    for row in range(len(batch.act)):
        with torch.no_grad():
            ahead = nets["value"](batch.obs_next[row : row + 1])[0][0, 0]
        aim = batch.rew[row] + batch.discount[row] * ahead
        for name in ("critic", "critic2"):
            chosen = nets[name](batch.obs[row : row + 1])[0][0, batch.act[row]]
            losses.append((chosen - aim) ** 2)
    return sum(losses) / len(batch.act)


def test_losses_and_gradients_are_the_papers_in_the_authors_order():
    """One step of plain gradient descent, value first: later losses see the moved value."""
    rate, tau, expectile, temperature, clip = 0.1, 0.2, 0.8, 8.0, 3.0
    algorithm = build(
        TorchOptimizerFactory(torch.optim.SGD, lr=rate), tau=tau, expectile=expectile,
        temperature=temperature, advantage_clip=clip,
    ).double()  # fmt: skip
    for name in ("critic_old", "critic2_old"):
        networks(algorithm)[name].load_state_dict(network().double().state_dict())
    nets = {name: copy.deepcopy(net) for name, net in networks(algorithm).items()}
    batch, expected = fixed_batch(), {}

    def descend(loss, *names):
        parameters = [parameter for name in names for parameter in nets[name].parameters()]
        gradients = torch.autograd.grad(loss, parameters)
        assert all(gradient.abs().max() > 1e-6 for gradient in gradients)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= rate * gradient
        return loss.item()

    gaps = [
        lesser(nets, batch, row) - nets["value"](batch.obs[row : row + 1])[0].item()
        for row in range(len(batch.act))
    ]
    assert min(gaps) < 0.0 < max(gaps)
    expected["value_loss"] = descend(value_loss(nets, batch, expectile), "value")
    loss, ratios = actor_loss(nets, batch, temperature, clip)
    assert (ratios > clip).any() and (ratios < 1.0).any()  # the batch has every case
    expected["actor_loss"] = descend(loss, "actor")
    expected["critic_loss"] = descend(critic_loss(nets, batch), "critic", "critic2")
    with torch.no_grad():
        for name in ("critic", "critic2"):
            pairs = zip(nets[name + "_old"].parameters(), nets[name].parameters(), strict=True)
            for target, source in pairs:
                target.copy_((1.0 - tau) * target + tau * source)

    stats = algorithm._update_with_batch(batch)
    for name, loss in expected.items():
        assert getattr(stats, name) == pytest.approx(loss, abs=1e-12), name
    for name, net in networks(algorithm).items():
        for mine, right in zip(net.parameters(), nets[name].parameters(), strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-12)


def test_the_least_expectile_loss_is_at_the_expectile():
    """Of 0 and 1 alike it is the expectile itself (Newey and Powell 1987)."""
    gaps = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for expectile in (0.1, 0.5, 0.9):
        guess = torch.tensor(expectile, dtype=torch.float64, requires_grad=True)
        expectile_loss(gaps - guess, expectile).backward()
        assert guess.grad.item() == pytest.approx(0.0, abs=1e-12)
    assert expectile_loss(torch.tensor([2.0]), 0.9).item() == pytest.approx(3.6)


def test_targets_bootstrap_through_truncation_and_not_through_termination():
    algorithm, plain = (
        build(FusedAdam(lr=0.0), gamma=0.5),
        batches.short_episodes(),
    )
    buffer = algorithm.process_buffer(batches.short_episodes())
    assert plain.terminated[4] and not plain.truncated[4]
    assert plain.truncated[9] and not plain.terminated[9]
    with torch.no_grad():
        ahead = algorithm.value(torch.as_tensor(plain.obs_next[9:10]))[0].item()
    assert abs(ahead) > 1e-2
    for row, aim in ((4, plain.rew[4]), (9, plain.rew[9] + 0.5 * ahead)):
        with torch.no_grad():
            obs = torch.as_tensor(plain.obs[row : row + 1])
            chosen = [critic(obs)[0][0, plain.act[row]].item()
                      for critic in (algorithm.critic, algorithm.critic2)]  # fmt: skip
        stats = algorithm._update_with_batch(buffer.rows(np.array([row])))
        expected = sum((value - aim) ** 2 for value in chosen)
        assert stats.critic_loss == pytest.approx(expected, abs=1e-6)


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


def learn(**arguments) -> DiscreteIQL:
    algorithm = build(FusedAdam(lr=1e-2), columns=2, tau=0.1, **arguments)
    update(algorithm, algorithm.process_buffer(chain()), 400, 64)
    return algorithm


def test_it_learns_the_better_action_against_the_more_frequent_one():
    algorithm = learn(gamma=1.0, expectile=0.9, temperature=20.0)
    value = algorithm.value(torch.eye(2))[0].flatten().tolist()
    # where 0 has four fifths and 1 one fifth, the expectile solves 0.9 * (1 - v) = 0.1 * 4 * v
    assert value[1] == pytest.approx(9 / 13, abs=0.05)
    assert value[0] > 0.5
    assert algorithm.policy.actor(torch.eye(2))[0].argmax(1).tolist() == [1, 1]


@pytest.mark.parametrize("flags", [{"temperature": 0.0}, {"expectile": 0.5, "temperature": 0.1}])
def test_without_temperature_it_clones_and_at_one_half_it_values_the_behaviour(flags):
    algorithm = learn(gamma=1.0, **flags)
    assert algorithm.policy.actor(torch.eye(2))[0].argmax(1).tolist() == [0, 0]
    if flags.get("expectile") == 0.5:
        value = algorithm.value(torch.eye(2))[0].flatten().tolist()
        assert value == pytest.approx([0.8 * 0.5 + 0.2 * 0.2, 0.2], abs=0.06)


def test_a_run_repeats_itself_and_goes_on_from_its_state():
    def start():
        algorithm = build(tau=0.1)
        return algorithm, algorithm.process_buffer(batches.short_episodes())

    ends = []
    for _ in range(2):
        algorithm, buffer = start()
        update(algorithm, buffer, 10)
        saved = copy.deepcopy(algorithm.state_dict())
        numbers = {k: v for k, v in vars(algorithm).items() if type(v) in (int, float, bool)}
        random = buffer._random_state.get_state()
        update(algorithm, buffer, 10)
        ends.append(state(algorithm))
    algorithm, buffer = start()
    update(algorithm, buffer, 3)  # what it has done before is forgotten
    algorithm.load_state_dict(saved)
    vars(algorithm).update(numbers)
    buffer._random_state.set_state(random)
    update(algorithm, buffer, 10)
    ends.append(state(algorithm))
    for first, second, resumed in zip(*ends, strict=True):
        assert torch.equal(first, second) and torch.equal(first, resumed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gamma", 1.1), ("gamma", -0.1), ("tau", 0.0), ("tau", 1.1), ("expectile", 0.0),
     ("expectile", 1.0), ("temperature", -1.0), ("advantage_clip", 0.0)],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}={value}: expected"):
        build(**{name: value})


def test_the_flags_reach_the_algorithm():
    box = spaces.Box(-np.inf, np.inf, (COLUMNS,), np.float32)
    setup = SimpleNamespace(
        inputs=Inputs([("obs", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(8,)),
        normaliser=Normaliser.identity(COLUMNS),
        task=SimpleNamespace(
            action_space=spaces.Discrete(ACTIONS), observation_space=box, action_masks=None
        ),
    )
    args = atari_style_iql.make_parser().parse_args(
        ["--load-buffer-name", "x", "--device", "cpu", "--gamma", "0.7", "--tau", "0.1", "--lr",
         "0.01", "--expectile", "0.8", "--temperature", "2", "--advantage-clip", "50"]
    )  # fmt: skip
    algorithm, actor = atari_style_iql.build(args, setup)
    assert (algorithm.gamma, algorithm.tau, algorithm.expectile) == (0.7, 0.1, 0.8)
    assert (algorithm.temperature, algorithm.advantage_clip) == (2.0, 50.0)
    rates = [optim._optim.param_groups[0]["lr"] for optim in algorithm._optimizers]
    assert rates == [0.01] * 3
    assert actor.network is algorithm.policy.actor


@pytest.mark.parametrize(
    "flags",
    [("--expectile", "1"), ("--tau", "0"), ("--temperature", "-1"), ("--advantage-clip", "0")],
)
def test_bad_flags_are_errors(flags, capsys):
    assert atari_style_iql.main(["--load-buffer-name", "x", *flags]) == 2
    assert f"{flags[0]}: expected" in capsys.readouterr().err
