"""What the scores benchmark refuses before it trains anything."""

from __future__ import annotations

import json

import pytest

from benchmarks import scores, suite_manifest
from benchmarks.scores_config import EASY, MARTINGALE, SUITES, Suite, cells_of
from benchmarks.scores_door import check_data, check_flags
from data_tools.command_line import CommandLineError


def asked(*flags):
    args = scores.parser_().parse_args(list(flags))
    suite, _ = scores.suite_of(args)
    return args, suite


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--jobs", "0"], "--jobs 0: expected a whole number >= 1"),
        (["--folds", "-1"], "--folds -1: expected a whole number >= 0"),
        (["--methods", "iql", "cqll"], "--methods cqll: --suite quick has il, cql, iql"),
        (["--tasks", "reversion-hard-levels"], f"--suite quick has {EASY}, {MARTINGALE}"),
    ],
)
def test_what_names_nothing_is_told_at_once(flags, message, tmp_path, capsys):
    place = tmp_path / "made"
    assert scores.main(["--folder", str(place), *flags]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("error: ") == 1
    assert not place.exists()


def test_a_file_is_no_folder(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(CommandLineError, match="is a file"):
        check_flags(*asked("--folder", str(path)))
    check_flags(*asked("--folder", str(tmp_path), "--jobs", "2", "--methods", "il"))


@pytest.mark.parametrize("seeds", [1, 7])
def test_another_number_of_seeds_may_be_less_or_more(seeds):
    args, suite = asked("--suite", "small", "--seeds", str(seeds))
    assert {cell.seed for cell in scores.chosen(suite, args)} == set(range(seeds))
    assert SUITES["small"].seeds == 5


def test_cells_of_other_data_are_refused(tmp_path):
    suite = Suite((EASY,), ("medium",), (1000,), 1, methods=("il", "cql"))
    works = scores.works_of(cells_of(suite), tmp_path)
    manifest = suite_manifest.empty()
    manifest["files"][works[0].cell.dataset] = {"sha256": "new"}
    (tmp_path / "datasets").mkdir()
    suite_manifest.write_manifest(tmp_path / "datasets", manifest)
    check_data(works, tmp_path)  # nothing is done yet
    for work, content in zip(works, ("new", "old"), strict=True):
        work.result.parent.mkdir(parents=True, exist_ok=True)
        made = {"command": work.command(), "dataset": {"content_hash": content}}
        work.result.write_text(json.dumps(made))
    check_data(works[:1], tmp_path)
    with pytest.raises(CommandLineError, match=f"1 finished cells, such as {works[1].name}"):
        check_data(works, tmp_path)
