"""Walked values, on a market that grows by a constant factor: they can be computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.discounted import collected_environment, discounted_value, steps_for
from data_tools.collect import collect
from data_tools.flat_layout import read_provenance
from offline_algos.actors import Actor
from offline_algos.checkpoint import TrainedPolicy
from offline_algos.normalisation import Normaliser

GROWTH, FEE, GAMMA = 1e-3, 4e-4, 0.8


class Always(Actor):
    """One action."""

    kind = "always"

    def __init__(self, columns: int, action: int) -> None:
        super().__init__(Normaliser.identity(columns), columns=columns, action=action)
        self.action = action

    @classmethod
    def build(cls, normaliser: Normaliser, **arguments: Any) -> Always:
        return cls(**arguments)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.full((len(observations),), self.action)


@pytest.fixture(scope="module")
def provenance(tmp_path_factory):
    """Of data in episodes of 10 decisions, shorter than a walk."""
    folder = tmp_path_factory.mktemp("discounted")
    close = 100.0 * np.exp(GROWTH * np.arange(1_000))
    opened = close / np.exp(GROWTH)
    frame = pd.DataFrame(
        {"open": opened, "high": close, "low": opened, "close": close, "volume": 1.0},
        index=pd.date_range("2020-01-01", periods=1_000, freq="1h", name="timestamp"),
    )
    frame.to_csv(folder / "up.csv")
    data = folder / "data.hdf5"
    env = {"action_levels": [0, 1], "window_sizes": [4], "transaction_fee": FEE}
    collect(data, buffer_size=40, market=str(folder / "up.csv"), env=env, episode_steps=10,
            progress=False, echo=None)  # fmt: skip
    return read_provenance(data)


def always(provenance, action):
    columns = provenance["layout"][-1]["stop"]
    return TrainedPolicy(Always(columns, action), {"layout": []})


def test_a_held_position_is_worth_its_growth_less_a_fee(provenance):
    found = discounted_value(always(provenance, 1), provenance, GAMMA, starts=16)
    expected = GROWTH * (1.0 - GAMMA**found.steps) / (1.0 - GAMMA) - np.log1p(FEE)
    assert found.steps == steps_for(GAMMA) > 10
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.error == pytest.approx(0.0, abs=1e-9) and found.starts == 16


def test_no_position_is_worth_nothing(provenance):
    assert discounted_value(always(provenance, 0), provenance, GAMMA, starts=4).value == 0.0


def test_walks_stay_in_the_period_of_the_data_and_begin_where_the_seed_says(provenance):
    environment = collected_environment(provenance, 64, 31)
    begun = []
    for seed in (0, 0, 1):
        environment.reset(seed=seed)
        begun.append(environment.decision_index.copy())
    assert (begun[0] == begun[1]).all() and (begun[0] != begun[2]).any()
    last = environment.decision_times[begun[0].max() + 31]
    assert last <= np.datetime64(provenance["config"]["end"].replace("+00:00", ""))
    assert len(np.unique(begun[0])) > 16


def test_the_steps_leave_no_more_than_the_tail():
    for gamma in (0.0, 0.5, 0.9, 0.99):
        steps = steps_for(gamma)
        assert gamma**steps <= 1e-3 and (steps == 1 or gamma ** (steps - 1) > 1e-3)
    for gamma in (1.0, -0.1):
        with pytest.raises(ValueError, match="discount"):
            steps_for(gamma)
