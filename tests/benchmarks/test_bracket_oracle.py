"""The oracle of environments with stops and targets."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bracket_oracle import bracket_oracle
from gym_trade import Market, OneStepConfig, SLTPConfig, VectorOneStepEnv, VectorSLTPEnv
from gym_trade.synthetic import make_frame
from offline_algos.evaluation import evaluate_rule, evaluation_environment, walk

BRACKETS = {"stoploss_levels": (-0.002, -0.01), "takeprofit_levels": (0.002, 0.01)}
CONFIGS = {
    "sltp": (SLTPConfig, {}),
    "closable": (SLTPConfig, {"include_close_action": True}),
    "shorts": (SLTPConfig, {"leverage": 2, "include_close_action": True}),
    "onestep": (OneStepConfig, {"rollout_steps": 4}),
}


@pytest.fixture(scope="module")
def market():
    """A market on which nothing can be learned."""
    return Market(make_frame("martingale", n_bars=6000, seed=3))


def config(market, name):
    made, changes = CONFIGS[name]
    frames = {"time_frames": ("5min",), "window_sizes": (4,), "execute_on": "5min"}
    return made(df=market, transaction_fee=0.0001, **frames, **BRACKETS, **changes)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_wins_where_nobody_else_can(market, name):
    made = config(market, name)
    environment = evaluation_environment(made)
    oracle = walk(environment, bracket_oracle(environment))
    others = [evaluate_rule("random", made, seed=seed) for seed in range(3)]
    others.append(evaluate_rule("flat", made))
    best, spread = (f([other["return"] for other in others]) for f in (np.max, np.std))
    assert oracle["return"] > best + 3 * spread
    assert oracle["times"][-1] == others[-1]["times"][-1]


@pytest.mark.parametrize(("name", "kind"), [("closable", VectorSLTPEnv),
                                            ("onestep", VectorOneStepEnv)])  # fmt: skip
def test_it_takes_what_pays_most(market, name, kind):
    made = config(market, name)
    environment = evaluation_environment(made)
    environment.reset(seed=0)
    act, taken = bracket_oracle(environment), []
    for _ in range(25):
        chosen = int(act(None)[0])
        paid = []
        for action in range(len(made.choices)):  # the same account, from its history anew
            again = evaluation_environment(made)
            again.reset(seed=0)
            for step in [*taken, action]:
                before, begun = again.portfolio_value[0], again.decision_index[0]
                again.step(np.array([step]))
            lane = again.engine.lanes[0]
            closing = abs(lane.quantity) * lane.price * made.transaction_fee
            growth = np.log((again.portfolio_value[0] - closing) / before)
            paid.append(growth / (again.decision_index[0] - begun))
        assert chosen == int(np.argmax(paid))
        environment.step(np.array([chosen]))
        taken.append(chosen)
    assert isinstance(environment, kind) and len(set(taken)) > 2


def test_it_changes_nothing_of_the_account(market):
    environment = evaluation_environment(config(market, "sltp"))
    environment.reset(seed=0)
    act = bracket_oracle(environment)
    before = environment.engine.lanes.copy()
    act(None)
    assert environment.engine.lanes.tolist() == before.tolist()
