"""Walk-forward folds: what is tested was never seen, and no decision is tested twice or lost."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks.folds import FoldError, find_folds
from offline_algos import atari_style_il
from offline_algos.evaluation import evaluation_environment
from offline_algos.judging import training_periods
from tests.offline_algos import samples

QUESTIONS = [(1, 0.4, None), (2, 0.3, None), (4, 0.4, None), (7, 0.6, None), (3, 0.5, "6h")]


def whole():
    return samples.frame(6000)


def gappy():
    """A night is missing each day, and one day."""
    bars = samples.frame(9000)
    kept = (bars.index.hour >= 6) & (bars.index.day != 4)
    return bars[kept]


@pytest.fixture(scope="module", params=[whole, gappy], ids=["whole", "gaps"])
def environment(request):
    return evaluation_environment(samples.config(samples.Market(request.param())))


@pytest.fixture(params=QUESTIONS, ids=str)
def folds(request, environment):
    count, first, rolling = request.param
    made = find_folds(environment, count, first=first, rolling=rolling)
    assert [fold.number for fold in made] == list(range(1, count + 1))
    return made


def place(environment, text):
    """The index of a decision."""
    instant = np.datetime64(pd.Timestamp(text).tz_localize(None))
    found = int(np.searchsorted(environment.decision_times, instant))
    assert environment.decision_times[found] == instant
    return found


def oldest_bar(environment, decision):
    """When the oldest bar opens that a decision's windows show: 6 bars of 5 minutes."""
    opened = environment.markets[0].open_ns
    bins = np.unique(opened[opened < environment.decision_times[decision].astype("int64")] // 300e9)
    return pd.Timestamp(int(bins[-6] * 300e9))


def test_tests_are_gapless_and_end_with_the_market(environment, folds):
    low, high = environment.decision_range
    tests = [[place(environment, t) for t in (f.test.start, f.test.end)] for f in folds]
    assert tests[-1][1] == high
    for before, after in itertools.pairwise(tests):
        assert before[1] == after[0]
    for fold, (start, end) in zip(folds, tests, strict=True):
        assert fold.test.steps == end - start >= 10
    assert low < tests[0][0]


def test_tests_are_of_nearly_equal_length(environment, folds):
    steps = [fold.test.steps for fold in folds]
    assert max(steps) - min(steps) <= 10


def test_no_window_of_a_part_shows_what_was_seen_in_the_part_before(environment, folds):
    for fold in folds:
        parts = (fold.train, (fold.validation.start, fold.validation.end), (fold.test.start,))
        for before, after in itertools.pairwise(parts):
            oldest = oldest_bar(environment, place(environment, after[0]))
            assert oldest >= pd.Timestamp(before[1]).tz_localize(None)
        assert place(environment, fold.train[0]) < place(environment, fold.train[1])


def test_scripts_find_the_same_periods(environment, folds):
    parser = atari_style_il.make_parser()
    for fold in folds:
        args = parser.parse_args(["--load-buffer-name", "any", *fold.flags])
        seen = tuple(pd.Timestamp(text) for text in fold.train)
        found = training_periods(args, environment, seen, same_market=True)
        assert found == (fold.validation, fold.test)


def test_later_folds_learn_from_more_unless_the_window_rolls(environment):
    expanding = find_folds(environment, 3, first=0.5)
    assert len({fold.train[0] for fold in expanding}) == 1
    assert [f.train[1] for f in expanding] == sorted({f.train[1] for f in expanding})
    for fold in find_folds(environment, 3, first=0.5, rolling="6h"):
        begin, end = map(pd.Timestamp, fold.train)
        assert end - begin <= pd.Timedelta("6h")


def test_the_first_test_begins_where_it_was_asked_to(environment):
    low, high = environment.decision_range
    begin = place(environment, find_folds(environment, 2, first=0.5)[0].test.start)
    assert abs((begin - low) / (high - low) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("count", "more", "wrong"),
    [
        (0, {}, "--folds 0"),
        (500, {}, "fewer --folds"),
        (2, {"first": 0.02}, "nothing is left to learn from"),
        (2, {"first": 1.0}, "--first 1"),
        (2, {"rolling": "soon"}, "--rolling soon"),
        (2, {"rolling": "-1d"}, "--rolling -1d"),
        (2, {"rolling": "1s"}, "--rolling: no decision"),
    ],
)
def test_what_cannot_be_cut_is_refused(environment, count, more, wrong):
    with pytest.raises(FoldError, match=wrong):
        find_folds(environment, count, **more)
