"""What must hold of scores is found to hold where it does, and to fail where it does not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from benchmarks import scores_checks
from benchmarks.reversion_optimum import optimum
from benchmarks.scores_bounds import excess
from benchmarks.scores_checks import checks, draws_of
from benchmarks.scores_config import EASY, EASY_CONTINUOUS, MARTINGALE
from benchmarks.scores_learned import compared_rows
from benchmarks.scores_paths import (
    Paths,
    draw,
    family_confidence,
    family_resamples,
    growth_draws,
    padded_returns,
)
from benchmarks.scores_verdict import FAILS, HOLDS, UNKNOWN
from benchmarks.time_draws import joint_draws

STEPS = 400
DEVIATION = 0.01


def log_growth(returns):
    return np.log1p(np.asarray(returns)).mean(axis=-1)


def paths_of(rows, controls=None, *, seeds=3, seed=0, ruined=()):
    """Paths of white noise whose mean log return is so many standard errors above zero."""
    random = np.random.default_rng(seed)

    def path(errors, count):
        logs = random.normal(0.0, DEVIATION, (count, STEPS))
        logs += errors * DEVIATION / math.sqrt(STEPS) - logs.mean(axis=1, keepdims=True)
        return np.expm1(logs)

    made = Paths(
        STEPS,
        {name: path(errors, seeds) for name, errors in rows.items()},
        {name: path(errors, 1) for name, errors in (controls or {}).items()},
        set(ruined),
    )
    draw(made, family_resamples(max(len(made.rows) + len(made.controls), 5)), length=1.0)
    return made


def rows_of(names, **more):
    return {name: {"fees": [0.0], **more} for name in names}


def found_in(paths, task, *, optimum=None, rows=None):
    """The checks of one task, by their first words."""
    made = checks(
        rows_of(paths.rows, task="other") if rows is None else rows,
        {task: {"optimum": optimum}}, {task: paths}, {}, [],
    )  # fmt: skip
    return {check["what"]: check for check in made}


def verdict(found, words):
    (check,) = [check for what, check in found.items() if words in what]
    return check["verdict"]


# --- paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 4])
def test_draws_are_those_of_the_joint_bootstrap(seeds):
    returns = np.random.default_rng(3).normal(1e-4, 0.01, (seeds, 300))
    expected = joint_draws([returns], log_growth, length=5.0, resamples=500, seed=7)[:, 0]
    found = growth_draws({"x": np.log1p(returns)}, 500, 5.0, seed=7)["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


def test_draws_of_two_are_on_the_same_blocks():
    logs = np.random.default_rng(0).normal(0.0, 0.01, (1, 300))
    found = growth_draws({"x": logs, "y": logs + 1e-3}, 200, 3.0)
    np.testing.assert_allclose(found["y"] - found["x"], 1e-3)
    assert found["x"].std() > 1e-4


def test_an_account_earns_nothing_after_its_end():
    np.testing.assert_allclose(padded_returns([100.0, 110.0, 11.0], 4), [0.1, -0.9, 0.0, 0.0])
    assert padded_returns([100.0, -5.0], 1)[0] > -1.0


def test_who_went_bankrupt_and_who_has_one_seed_has_no_interval():
    paths = paths_of({"a": 0.0, "b": 0.0}, {"flat": 0.0}, ruined=["b"])
    assert paths.interval("a").known and paths.interval("flat").known
    assert not paths.interval("b").known and not paths.difference("a", "b").known
    assert not paths_of({"a": 0.0}, seeds=1).interval("a").known


def test_a_family_has_the_draws_that_its_tails_need():
    assert family_confidence(5) == pytest.approx(0.99)
    assert family_resamples(50) == 20_000
    tails = family_resamples(50) * (1.0 - family_confidence(50)) / 2.0
    assert tails == pytest.approx(10.0)
    curve = np.zeros((1, STEPS))
    paths = {
        name: Paths(STEPS, {f"{name}/{number}": curve for number in range(count)})
        for name, count in (("a", 30), ("b", 40), (MARTINGALE, 20), ("file", 2))
    }
    controls = {name: {"optimum": {} if name in "ab" else None} for name in paths}
    # optima are one family over tasks
    assert draws_of(paths, controls) == {"a": 28_000, "b": 28_000, MARTINGALE: 8_000, "file": 2_000}


# --- the fair game ----------------------------------------------------------------------------


def test_a_method_above_zero_on_a_fair_game_fails():
    quiet = found_in(paths_of({"m/a/il": 0.0, "m/a/cql": -0.5}), MARTINGALE)
    assert verdict(quiet, "fair game") == HOLDS
    found = found_in(paths_of({"m/a/il": 0.0, "m/a/cql": 6.0}), MARTINGALE)
    assert verdict(found, "fair game") == FAILS
    (text,) = scores_checks.failed(found.values())
    assert "1 cover zero, 0 lie below, 1 above" in text and "above: a: cql" in text


def test_many_rows_may_be_a_little_above_zero_by_chance():
    rows = {f"m/a/{number}": -0.2 for number in range(40)} | {"m/a/lucky": 2.4}
    paths = paths_of(rows)
    assert paths.interval("m/a/lucky").low > 0.0
    assert verdict(found_in(paths, MARTINGALE), "fair game") == HOLDS


def test_losing_to_fees_is_no_failure_and_is_told():
    paths = paths_of({"m/a/il": 0.0, "m/a/busy": -8.0, "m/a/broke": -9.0}, ruined=["m/a/broke"])
    paid = 8.0 * DEVIATION / math.sqrt(STEPS)
    rows = rows_of(paths.rows, task="other")
    rows["m/a/busy"]["fees"] = [paid, paid]
    check = found_in(paths, MARTINGALE, rows=rows)[
        "fair game: no method's net growth is above zero"
    ]
    assert check["verdict"] == HOLDS
    assert "of 3 rows' intervals 1 cover zero, 1 lie below, 0 above" in check["found"]
    assert "of those below, 1 cover it before fees" in check["found"]
    assert "1 went bankrupt" in check["found"]


def test_rows_of_one_seed_tell_nothing():
    assert verdict(found_in(paths_of({"a": 0.0}, seeds=1), MARTINGALE), "fair game") == UNKNOWN


# --- the oracle and the optimum ---------------------------------------------------------------


def test_an_oracle_that_is_not_above_all_fails():
    above = found_in(paths_of({"t/a/il": 1.0}, {"flat": 0.0, "oracle": 30.0}), "t")
    assert verdict(above, "next bar") == HOLDS
    beside = found_in(paths_of({"t/a/il": 1.0}, {"flat": 0.0, "oracle": 1.5}), "t")
    assert verdict(beside, "next bar") == FAILS
    assert "next bar" not in " ".join(found_in(paths_of({"t/a/il": 1.0}), "t"))


@pytest.fixture(scope="module")
def known():
    """The easy market's optimum, as a references file has it."""
    return json.loads(json.dumps(vars(optimum("easy"))))


def test_an_optimum_that_is_beaten_fails(known):
    controls = {"optimum": 20.0, "expert": 15.0, "oracle": 60.0}
    held = found_in(paths_of({"t/a/il": 10.0}, controls), EASY, optimum=known)
    assert verdict(held, "computed optimum") == HOLDS
    beaten = found_in(paths_of({"t/a/il": 40.0}, controls), EASY, optimum=known)
    assert verdict(beaten, "computed optimum") == FAILS
    assert any("beaten by a: il" in text for text in scores_checks.failed(beaten.values()))
    # a control too must not
    controls["expert"] = 45.0
    found = found_in(paths_of({"t/a/il": 10.0}, controls), EASY, optimum=known)
    assert verdict(found, "computed optimum") == FAILS


def test_the_bound_counts_ends_of_the_period_and_exposures_between(known):
    best = optimum("easy")
    low, high = best.total(1000)
    assert excess(known, 1000, between=False) == pytest.approx((high - low) / 1000)
    more = excess(known, 1000, between=True) - excess(known, 1000, between=False)
    assert more == pytest.approx(best.between) and more > 0.0
    assert excess(known, 100_000, between=False) < excess(known, 100, between=False)


def test_who_has_no_interval_is_told_and_not_passed_over(known):
    controls = {"optimum": 20.0, "flat": 0.0, "oracle": 60.0}
    single = found_in(paths_of({"t/a/il": 10.0}, controls, seeds=1), EASY, optimum=known)
    for words in ("computed optimum", "next bar"):
        assert verdict(single, words) == UNKNOWN
    (text,) = [c["found"] for what, c in single.items() if "computed optimum" in what]
    assert "1 of 2 rows and controls compared, 1 have no interval" in text
    paths = paths_of({"t/a/il": 10.0, "t/a/cql": -9.0}, controls, ruined=["t/a/cql"])
    broke = found_in(paths, EASY, optimum=known)
    (text,) = [c["found"] for what, c in broke.items() if "next bar" in what]
    assert "2 of 3 rows and controls compared, 1 went bankrupt" in text
    assert verdict(broke, "next bar") == HOLDS
    # curves of other steps are in no path
    paths.uneven.add("t/a/crr")
    for words in ("computed optimum", "next bar"):
        assert verdict(found_in(paths, EASY, optimum=known), words) == UNKNOWN
    fair = paths_of({"m/a/il": 0.0})
    assert verdict(found_in(fair, MARTINGALE), "fair game") == HOLDS
    fair.uneven.add("m/a/crr")
    assert verdict(found_in(fair, MARTINGALE), "fair game") == UNKNOWN


# --- what is learned --------------------------------------------------------------------------


def row(task, method, share, *, size=100_000, kind="expert", growth=(1.0, 2.0, 3.0)):
    return {
        "task": task, "kind": kind, "size": size, "method": method, "norm_obs": True,
        "variant": "", "fees": [0.0], "best": {"share": share, "growth": list(growth)},
    }  # fmt: skip


def learned(task, *rows):
    named = {f"{number}": one for number, one in enumerate(rows)}
    found = checks(named, {task: {"optimum": None}}, {task: Paths(STEPS)}, {}, [])
    return {check["what"]: check for check in found}


def test_expert_data_must_lead_near_the_optimum():
    good = [row(EASY, method, [0.9, 0.86, 0.95]) for method in ("iql", "cql", "bcq")]
    assert verdict(learned(EASY, *good), "reach 85%") == HOLDS
    short = learned(EASY, *good[:2], row(EASY, "bcq", [0.84, 0.8, 0.9]))
    assert verdict(short, "reach 85%") == FAILS
    # the largest data counts
    small = row(EASY, "bcq", [0.1, 0.0, 0.2], size=10_000)
    assert verdict(learned(EASY, *good, small), "reach 85%") == HOLDS
    assert verdict(learned(EASY, *good[:2]), "reach 85%") == UNKNOWN
    other = learned(EASY, row(EASY, "iql", [0.9, 0.9, 0.9], kind="medium"))
    assert "reach 85%" not in " ".join(other)
    alone = learned(EASY_CONTINUOUS, row(EASY_CONTINUOUS, "td3_bc", [0.85, None, None]))
    assert verdict(alone, "td3_bc reach 85%") == HOLDS


def test_the_order_of_methods_is_called_stable_or_not():
    ordered = [row(EASY, str(m), None, growth=(m, m + 0.1, m + 0.2)) for m in range(4)]
    assert verdict(learned(EASY, *ordered), "order of methods") == "stable"
    mixed = [row(EASY, str(m), None, growth=np.roll(range(4), m)[:4]) for m in range(4)]
    assert verdict(learned(EASY, *mixed), "order of methods") in ("unstable", "undecided")
    assert "order of methods" not in " ".join(learned(EASY, ordered[0]))


def test_a_size_that_not_all_data_have_is_an_ablation():
    rows = {
        str(number): row(EASY, "il", None, kind=kind, size=size)
        for number, (kind, size) in enumerate([("medium", 10), ("medium", 100), ("expert", 100)])
    }
    assert [one["size"] for one in compared_rows(rows)] == [100, 100]
    rows["more"] = row(EASY, "il", None, size=10)
    assert len(compared_rows(rows)) == 4
    assert compared_rows({}) == []


def test_missing_cells_are_told():
    (check,) = checks({}, {}, {}, {}, ["a/b/seed0", "a/b/seed1"])
    assert check["verdict"] == "incomplete" and "2 missing: a/b/seed0" in check["found"]
