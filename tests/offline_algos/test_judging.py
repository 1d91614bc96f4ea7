"""The dates that a run is judged on, by its flags."""

from __future__ import annotations

import json

import pytest

from tests.offline_algos import scripts

AFTER = "2020-01-04T06:00:00"


@pytest.fixture
def trained_with(dataset_file, tmp_path, capsys):
    """Train with flags, and return the dates of the result and what was printed."""

    def train(*flags):
        assert (
            scripts.run("atari_style_il", dataset_file, tmp_path, "--logger", "none", *flags) == 0
        )
        (result,) = scripts.results(tmp_path)
        return json.loads(result.read_text())["evaluation"], capsys.readouterr().out

    return train


def test_the_test_begins_where_it_was_asked_to(trained_with):
    judged, out = trained_with("--test-start", AFTER, "--test-end", "2020-01-05")
    # the data ends on 2020-01-03 22:15; longest window 6 x 5 minutes
    assert judged["validation"]["start"] == "2020-01-03T22:45:00"
    assert judged["validation"]["end"] == "2020-01-04T05:30:00"
    assert (judged["test"]["start"], judged["test"]["end"]) == (AFTER, "2020-01-05T00:00:00")
    assert "too little to validate on" not in out


def test_with_nothing_before_it_the_test_begins_later_and_that_is_said(trained_with):
    judged, out = trained_with("--test-start", "2020-01-03T22:45")
    assert judged["validation"]["start"] == "2020-01-03T22:45:00"
    assert judged["test"]["start"] > judged["validation"]["end"] > "2020-01-04"
    assert "too little to validate on lies between the dataset's collection span and" in out


def test_a_test_inside_the_data_is_not_said_to_have_too_little_before_it(trained_with):
    _, out = trained_with("--test-start", "2020-01-02", "--allow-overlap")
    assert "inside the dataset's collection span lies --test-start 2020-01-02: the first" in out
    assert "too little" not in out


def test_without_flags_nothing_is_said(trained_with):
    judged, out = trained_with()
    assert judged["validation"]["start"] == "2020-01-03T22:45:00"
    assert "too little to validate on" not in out
