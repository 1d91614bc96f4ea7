from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gym_trade import Market, VectorTradeEnv
from offline_algos.evaluation import evaluation_environment
from offline_algos.periods import (
    PeriodError,
    clear_of,
    evaluation_range,
    split,
    split_before,
    whole_range,
)
from tests.markets import bars
from tests.offline_algos import samples


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


COLLECTED = (utc("2020-01-01 00:30"), utc("2020-01-03 00:00"))


def whole(market: Market | None = None) -> VectorTradeEnv:
    """Minute bars, 2020-01-01 00:00 to 2020-01-05 04:00, longest window 6 x 5 minutes."""
    return evaluation_environment(samples.config(market))


def test_default_split_follows_the_collection_span_with_embargoes():
    environment = whole()
    first, last = evaluation_range(environment, COLLECTED, same_market=True)
    assert first == utc("2020-01-03 00:30")  # an embargo of 30 minutes
    assert last == utc("2020-01-05 04:00")
    validation, test = split(environment, first, last)
    decisions = (last - first) / pd.Timedelta("5min")
    assert validation.start == "2020-01-03T00:30:00"
    assert validation.steps == int(0.3 * decisions)
    validated = utc(validation.end)
    assert validated == first + validation.steps * pd.Timedelta("5min")
    assert utc(test.start) == validated + pd.Timedelta("30min")
    assert test.end == "2020-01-05T04:00:00"
    assert test.steps == (last - utc(test.start)) / pd.Timedelta("5min")


def test_a_period_is_what_the_environment_walks():
    validation, _ = split(whole(), utc("2020-01-03 00:30"), utc("2020-01-05 04:00"))
    walked = evaluation_environment(samples.config(), validation.start, validation.end)
    low, high = walked.decision_range
    assert high - low == validation.steps
    assert pd.Timestamp(walked.decision_times[low]).isoformat() == validation.start
    assert pd.Timestamp(walked.decision_times[high]).isoformat() == validation.end


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_after_the_embargo_no_window_shows_a_bar_from_before(gaps):
    market = Market(bars(6000, missing=gaps, start="2020-01-01"))
    environment = whole(market)
    after = utc("2020-01-03 00:02")
    clear = clear_of(market, environment.layout, after)
    index = int(np.searchsorted(environment.decision_times, np.datetime64(clear.tz_localize(None))))
    instant = pd.Timestamp(environment.decision_times[index], tz="UTC")
    for frame, count in (("1min", 4), ("5min", 6)):
        seen = market.open_times[market.open_times < np.datetime64(instant.tz_localize(None))]
        starts = pd.DatetimeIndex(seen).floor(frame).unique()
        assert starts[-count].tz_localize("UTC") >= after
    if gaps:
        assert clear > after + pd.Timedelta("30min")


def test_dates_inside_the_collection_span_are_refused_unless_asked_for():
    environment = whole()
    for same_market, start in ((True, "2020-01-02"), (False, None), (False, "2020-01-02")):
        with pytest.raises(PeriodError, match=r"overlaps .* --test-start 2020-01-03T00:00"):
            evaluation_range(environment, COLLECTED, same_market=same_market, start=start)
    first, last = evaluation_range(environment, COLLECTED, same_market=True, allow_overlap=True)
    assert (first, last) == (utc("2020-01-01 00:55"), utc("2020-01-05 04:00"))
    first, _ = evaluation_range(
        environment, COLLECTED, same_market=False, start="2020-01-02T12:00", allow_overlap=True
    )
    assert first == utc("2020-01-02 12:00")


def test_another_market_after_or_before_the_span_is_used_whole():
    later = whole(Market(samples.frame(start="2021-06-01")))
    first, last = evaluation_range(later, COLLECTED, same_market=False)
    assert (first, last) == (utc("2021-06-01 00:55"), utc("2021-06-05 04:00"))
    validation, test = split(later, first, last)
    assert validation.start == "2021-06-01T00:55:00" and test.end == "2021-06-05T04:00:00"
    earlier = whole(Market(samples.frame(start="2019-06-01")))
    assert evaluation_range(earlier, COLLECTED, same_market=False)[0] == utc("2019-06-01 00:55")


def test_another_market_that_starts_at_the_span_s_end_gets_the_embargo():
    following = whole(Market(samples.frame(start="2020-01-02 23:00")))
    first, _ = evaluation_range(following, COLLECTED, same_market=False, start="2020-01-03T00:05")
    assert first == utc("2020-01-03 00:30")


def test_dates_before_the_span_of_the_same_market_are_refused():
    """The policy was trained on what came after them."""
    span = (utc("2020-01-03 00:00"), utc("2020-01-04 00:00"))
    asked = {"start": "2020-01-01T12:00", "end": "2020-01-03T00:00"}
    with pytest.raises(PeriodError, match=r"lies before the dataset's collection span"):
        evaluation_range(whole(), span, same_market=True, **asked)
    allowed = evaluation_range(whole(), span, same_market=True, allow_overlap=True, **asked)
    assert allowed == (utc("2020-01-01 12:00"), utc("2020-01-03 00:00"))


def test_asked_for_times():
    environment = whole()
    first, last = evaluation_range(
        environment, COLLECTED, same_market=True,
        start="2020-01-04T01:00+01:00", end="2020-01-04 12:00",
    )  # fmt: skip
    assert (first, last) == (utc("2020-01-04 00:00"), utc("2020-01-04 12:00"))
    validation, test = split(environment, first, last)
    assert validation.start == "2020-01-04T00:00:00" and test.end == "2020-01-04T12:00:00"
    for text in ("soon", ""):
        with pytest.raises(PeriodError, match="is no time"):
            evaluation_range(environment, COLLECTED, same_market=True, start=text)


def test_without_a_known_collection_span_everything_is_used():
    first, _ = evaluation_range(whole(), None, same_market=False)
    assert first == utc("2020-01-01 00:55")


@pytest.mark.parametrize("end", ["2020-01-05 04:00", "2020-01-05 03:00", "2020-01-05 01:30"])
def test_nothing_or_too_little_left_says_what_to_do(end):
    environment = whole()
    span = (COLLECTED[0], utc(end))
    first, last = evaluation_range(environment, span, same_market=True)
    with pytest.raises(PeriodError, match=r"--test-market FILE.*--train-fraction 0\.7"):
        split(environment, first, last)


@pytest.mark.parametrize("gaps", [0.0, 0.4])
def test_what_lies_before_a_test_validates_an_embargo_away_from_both(gaps):
    environment = whole(Market(bars(6000, missing=gaps, start="2020-01-01")))
    first, last = evaluation_range(
        environment, COLLECTED, same_market=True, start="2020-01-04 12:00"
    )
    validation, test = split_before(environment, COLLECTED, first, last)
    times = pd.DatetimeIndex(environment.decision_times).tz_localize("UTC")
    high = environment.decision_range[1]

    def clear(instant):
        return clear_of(environment.markets[0], environment.layout, instant)

    assert utc(validation.start) == times[times >= clear(COLLECTED[1])][0]
    assert utc(test.start) == times[times >= utc("2020-01-04 12:00")][0]
    assert utc(test.end) == times[high]
    final = times.get_loc(utc(validation.end))
    assert clear(times[final]) <= first < clear(times[final + 1])  # not one more fits
    for period in (validation, test):
        assert times.get_loc(utc(period.end)) - times.get_loc(utc(period.start)) == period.steps


def test_a_market_from_before_the_data_validates_from_its_start():
    environment = whole(Market(samples.frame(start="2019-06-01")))
    first, last = evaluation_range(environment, COLLECTED, same_market=False, start="2019-06-03")
    validation, test = split_before(environment, COLLECTED, first, last)
    assert validation.start == "2019-06-01T00:55:00"
    assert (validation.end, test.start) == ("2019-06-02T23:30:00", "2019-06-03T00:00:00")


@pytest.mark.parametrize(
    ("seen", "start"),
    [
        (COLLECTED, "2020-01-03 00:00"),  # as the message about an overlap advises
        (COLLECTED, "2020-01-03 01:30"),  # the embargoes leave six decisions
        (COLLECTED, "2020-01-02"),  # inside: only with --allow-overlap
        (None, "2020-01-04"),  # which of it was learned from is not known
    ],
)
def test_with_too_little_before_a_test_nothing_is_split_off(seen, start):
    environment = whole()
    first, last = evaluation_range(
        environment, seen, same_market=True, start=start, allow_overlap=True
    )
    assert split_before(environment, seen, first, last) is None


def test_too_little_to_test_on_says_what_to_do():
    environment, last = whole(), utc("2020-01-05 04:00")
    for cut in (split_before, lambda made, _, *span: whole_range(made, *span)):
        with pytest.raises(
            PeriodError, match=r"^9 decisions are left.*earlier --test-start, --test-"
        ):
            cut(environment, COLLECTED, utc("2020-01-05 03:15"), last)
    assert whole_range(environment, utc("2020-01-05 03:10"), last).steps == 10
