"""Validation without transitions: what Tianshou's own Collector would have found."""

from __future__ import annotations

import pytest
from tianshou.data import Collector, ReplayBuffer

from offline_algos.actors import ActorPolicy, GreedyActor
from offline_algos.evaluation import EVALUATION_SEED, evaluation_environment
from offline_algos.networks import Inputs, ValueNetwork
from offline_algos.normalisation import Normaliser
from offline_algos.validation import PassCollector
from offline_algos.vector_env import TradeVectorEnv
from tests.offline_algos import samples


@pytest.fixture(scope="module")
def actor():
    inputs = Inputs([("all", 0, samples.COLUMNS, (samples.COLUMNS,))], hidden_sizes=(16,))
    return GreedyActor(Normaliser.identity(samples.COLUMNS), ValueNetwork(inputs, 3, 4))


def test_it_finds_what_tianshou_s_collector_does(actor):
    environments = [evaluation_environment(samples.config()) for _ in range(2)]
    space = environments[0].single_action_space
    stock = Collector(
        ActorPolicy(actor, space),
        TradeVectorEnv(environments[0], replay_seed=EVALUATION_SEED, listener=actor),
        ReplayBuffer(5_000, ignore_obs_next=True),
    )
    stock.reset()
    wanted = stock.collect(n_episode=1)
    ours = PassCollector(actor, space, environments[1])
    ours.reset()
    for _ in range(2):  # a pass leaves nothing behind
        made = ours.collect(n_episode=1)
        assert made.returns == pytest.approx(wanted.returns) and made.returns.shape == (1,)
        assert made.lens.tolist() == wanted.lens.tolist()
        assert made.n_collected_episodes == 1
        assert made.n_collected_steps == wanted.n_collected_steps > 10
    assert ours.collect_episode == 2 and ours.collect_step == 2 * wanted.n_collected_steps


def test_it_collects_whole_passes_only(actor):
    environment = evaluation_environment(samples.config())
    ours = PassCollector(actor, environment.single_action_space, environment)
    for arguments in ({"n_step": 5}, {"n_episode": 1, "random": True}):
        with pytest.raises(ValueError, match="whole episodes of its policy"):
            ours.collect(**arguments)
