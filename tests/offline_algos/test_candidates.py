"""``--num-candidates``: acting by what the critics like best."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from offline_algos.actors import DeterministicActor, GaussianActor
from offline_algos.bcq import BatchConstrainedActor
from offline_algos.candidates import ClippedCandidates, SquashedCandidates, fixed_noise
from offline_algos.checkpoint import load_policy, save_policy
from offline_algos.networks import Critic, Inputs
from offline_algos.normalisation import Normaliser, Statistics
from tests.offline_algos import batches, scripts, trained

COLUMNS, CANDIDATES = 3, 64
INPUTS = Inputs([("state", 0, COLUMNS, (COLUMNS,))], hidden_sizes=(8,))
BOX = {"low": [0.0], "high": [1.0]}
KINDS = [ClippedCandidates, SquashedCandidates]
NAMES = ["d4rl_style_iql", "d4rl_style_crr"]


def normaliser():
    return Normaliser(Statistics(np.full(COLUMNS, 5.0), np.full(COLUMNS, 2.0)))


def centred(kind):
    """A policy whose mean is the middle of the box, and its actor without candidates."""
    network = kind.network_class(INPUTS, 1)
    for layer in [network.head] if kind is ClippedCandidates else [network.mean, network.log_std]:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    if kind is SquashedCandidates:
        nn.init.ones_(network.log_std.bias)
    plain = DeterministicActor if kind is ClippedCandidates else GaussianActor
    return network, plain(normaliser(), network, **BOX)


def critic(slope):
    """Q = |10 x + slope a| of an action a and x, the first number that is observed."""
    made = Critic(INPUTS, 1)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        for unit, sign in enumerate((1.0, -1.0)):
            made.first.weight[unit, 0], made.first.weight[unit, -1] = 10.0 * sign, slope * sign
            made.rest[0].weight[0, unit] = 1.0
    return made


def observed(*signs):
    """Raw observations whose first number is +1 or -1 once it is normalised."""
    made = torch.full((len(signs), COLUMNS), 5.0)
    made[:, 0] += 2.0 * torch.tensor(signs)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_that_the_critics_like_is_taken_where_the_mean_is_the_middle(kind):
    network, plain = centred(kind)
    actor = kind(normaliser(), network, [critic(1.0), critic(2.0)], **BOX, candidates=CANDIDATES)
    seen = observed(1.0, -1.0, 1.0)
    assert plain(seen)[:, 0].tolist() == [0.5, 0.5, 0.5]
    assert actor(seen)[:, 0].tolist() == pytest.approx([1.0, 0.0, 1.0], abs=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_action_is_worth_the_least_that_a_critic_says(kind):
    """Each critic likes another end, and the lesser value of an end is below that of the mean."""
    network, _ = centred(kind)
    actor = kind(normaliser(), network, [critic(1.0), critic(-2.0)], **BOX, candidates=CANDIDATES)
    assert actor(observed(1.0, -1.0))[:, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_that_is_certain_acts_by_its_mean(kind):
    network, plain = centred(kind)
    made = {}
    if kind is ClippedCandidates:
        made["log_std"] = nn.Parameter(torch.full((1,), -5.0))
    else:
        nn.init.constant_(network.log_std.bias, -5.0)
    actor = kind(normaliser(), network, [critic(1.0)], **BOX, candidates=CANDIDATES, **made)
    seen = observed(1.0, -1.0)
    torch.testing.assert_close(actor(seen), plain(seen), rtol=0.0, atol=0.02)


def test_noise_is_bcq_s_and_no_seed_s():
    torch.manual_seed(1)
    first, state = fixed_noise(100, 2), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, fixed_noise(100, 2)) and abs(first.std().item() - 1.0) < 0.15
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())  # it takes nothing from training's numbers
    _, actor = scripts.make_algorithm("d4rl_style_bcq", "--forward-sampled-times", "100")
    assert isinstance(actor, BatchConstrainedActor)
    assert torch.equal(actor.latents, fixed_noise(100, 2).clamp(-0.5, 0.5))


def steps(name, *flags):
    """An algorithm and its actor after some steps, on equal data with equal numbers drawn."""
    algorithm, actor = scripts.make_algorithm(name, *flags)
    batches.run_ours(algorithm, batches.dataset(action_width=1), 10)
    return algorithm, actor


def by_hand(algorithm, actor, name, row):
    """The action for a normalised observation, (1, D)."""
    if name == "d4rl_style_iql":
        mean, std = algorithm.policy.actor(row)[0], algorithm.policy.log_std.exp()
        drawn = [mean, *((mean + std * noise).clamp(-1.0, 1.0) for noise in actor.noise[0])]
    else:
        (mean, std), _ = algorithm.policy.actor(row)
        drawn = [torch.tanh(mean), *(torch.tanh(mean + std * noise) for noise in actor.noise[0])]
    olds = algorithm.critic_old.module, algorithm.critic2_old.module
    values = [min(old(row, act).item() for old in olds) for act in drawn]
    return drawn[int(np.argmax(values))]


@pytest.mark.parametrize("name", NAMES)
def test_the_actor_asks_what_is_trained_and_its_target_critics(name, tmp_path):
    algorithm, actor = steps(name, "--num-candidates", "5")
    assert list(actor.critics) == [algorithm.critic_old.module, algorithm.critic2_old.module]
    observations = torch.randn(20, batches.COLUMNS)
    with torch.no_grad():
        chosen = actor(observations)
        expected = torch.cat([by_hand(algorithm, actor, name, row[None]) for row in observations])
        mean = scripts.make_algorithm(name)[1](observations)
    torch.testing.assert_close(chosen, expected)
    assert len(chosen.unique()) > 5 and not torch.equal(chosen, mean)

    save_policy(tmp_path / "policy.pth", actor, {})
    torch.manual_seed(9)
    loaded = load_policy(tmp_path / "policy.pth")
    for _ in range(2):
        np.testing.assert_array_equal(loaded.act(observations.numpy()), chosen.numpy())
    alone = [loaded.act(row[None].numpy())[0] for row in observations]
    np.testing.assert_allclose(alone, chosen.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_knows_nothing_of_it(name):
    plain, without = steps(name)
    other, _ = steps(name, "--num-candidates", "5")
    assert isinstance(without, DeterministicActor | GaussianActor)
    left, right = plain.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left if torch.is_tensor(left[key]))


@pytest.mark.parametrize("name", NAMES)
def test_it_acts_on_another_device(name):
    """Torch's meta device: a tensor that stays on the CPU is an error beside those on it."""
    _, actor = scripts.make_algorithm(name, "--num-candidates", "5", device="meta")
    actions = actor(torch.zeros(4, batches.COLUMNS, device="meta"))
    assert actions.device.type == "meta" and actions.shape == (4, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_its_resumption_and_its_use(name, continuous_file, tmp_path, capsys):
    flags = ["--num-candidates", "16", "--logger", "none", "--epoch", "1", *scripts.SOON]
    assert scripts.run(name, continuous_file, tmp_path, *flags) == 0
    folder, result = scripts.only_result(tmp_path)
    noise = load_policy(folder).actor.noise
    assert torch.equal(noise, fixed_noise(16, 1))

    assert (
        trained.use(name, "--resume-path", folder, "--eval-only", "--logdir", tmp_path / "e") == 0
    )
    again = trained.last_json(capsys.readouterr().out)
    assert again["test"]["policy"]["return"] == result["test"]["best"]["return"]
    assert trained.use(name, "--resume-path", folder, "--watch") == 0
    error = trained.refusal(capsys, name, "--resume-path", folder, "--watch", *flags[:2])
    assert "--num-candidates: --watch uses a checkpoint as it was trained" in error

    longer = [*flags, "--epoch", "2", "--resume"]
    assert scripts.run(name, continuous_file, tmp_path, *longer, "--num-candidates", "4") == 2
    error = capsys.readouterr().err
    assert "--num-candidates 4 now, 16 in" in error and "Pass --num-candidates 16" in error
    assert scripts.run(name, continuous_file, tmp_path, *longer) == 0
    assert torch.equal(load_policy(folder / "last.pth").actor.noise, noise)


@pytest.mark.parametrize("given", ["-1", "1.5", "many"])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_that_is_none_is_refused(name, given, capsys, tmp_path):
    error = trained.refusal(
        capsys, name, "--load-buffer-name", tmp_path / "x", f"--num-candidates={given}"
    )
    assert f"--num-candidates: expected a whole number, at least 0, got {given!r}" in error
