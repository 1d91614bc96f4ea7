"""The matrix of the scores benchmark."""

from __future__ import annotations

import importlib

import pytest

from benchmarks.scores import plan_datasets, works_of
from benchmarks.scores_arguments import chosen, parser_, suite_of
from benchmarks.scores_config import EASY, SUITES, TASKS, Suite, cells_of, without
from benchmarks.suite_config import KINDS
from data_tools.command_line import CommandLineError


@pytest.mark.parametrize("suite", SUITES)
def test_every_cell_s_command_can_be_parsed(suite, tmp_path):
    seen = set()
    for work in works_of(cells_of(SUITES[suite]), tmp_path):
        if (work.script, work.words, work.cell.flags) not in seen:
            seen.add((work.script, work.words, work.cell.flags))
            script = importlib.import_module(f"offline_algos.{work.script}")
            args = script.make_parser().parse_args(work.command()[1:])
            assert args.seed == work.cell.seed and args.threads == 1
            assert bool(args.norm_obs) == work.cell.norm_obs
    assert seen


@pytest.mark.parametrize("suite", SUITES)
def test_no_cell_stands_twice_and_every_name_is_its_own(suite):
    cells = cells_of(SUITES[suite])
    assert len(cells) == len(set(cells)) == len({cell.name for cell in cells})


def test_the_small_suite_has_what_was_announced():
    cells = cells_of(SUITES["small"])
    plain = {(c.task, c.kind, c.method) for c in cells
             if c.norm_obs and not c.variant and c.size == 100_000}  # fmt: skip
    tasks = (*SUITES["small"].tasks, "reversion-easy-sltp", "reversion-easy-onestep")
    fair = "martingale-continuous"
    assert {(kind, method) for task, kind, method in plain if task == fair} == {
        ("medium", method) for method in TASKS[fair].methods
    }
    rest = [task for task, _, _ in plain if task != fair]
    assert len(rest) == 3 * sum(len(TASKS[name].methods) for name in tasks)
    assert set(rest) == set(tasks)
    assert {c.seed for c in cells} == set(range(5))
    changed = [c for c in cells if not c.norm_obs or c.variant or c.size != 100_000]
    valued = {c for c in changed if c.variant == "by-value"}
    assert {(c.task, c.kind) for c in {*changed} - valued} == {SUITES["small"].ablation}
    assert {(c.task, c.kind, c.method) for c in valued} == {
        ("reversion-easy-continuous", kind, method)
        for kind in ("random", "medium") for method in ("iql", "crr")
    }  # fmt: skip


def test_a_suite_may_have_further_datasets():
    extra = ((EASY, "expert"), ("reversion-easy-sltp", "medium"))
    cells = cells_of(Suite((EASY,), ("random",), (100, 200), 2, extra=extra))
    found = {(cell.task, cell.kind) for cell in cells}
    assert found == {(EASY, "random"), *extra}
    of_extra = [cell for cell in cells if (cell.task, cell.kind) == extra[1]]
    assert {cell.size for cell in of_extra} == {100, 200}
    assert {cell.method for cell in of_extra} == set(TASKS[extra[1][0]].methods)


def test_the_full_suite_has_every_task_on_every_dataset():
    cells = cells_of(SUITES["full"])
    assert {cell.task for cell in cells} == set(TASKS) > {
        "reversion-easy-sltp", "reversion-easy-onestep"}  # fmt: skip
    for name in TASKS:
        assert {cell.kind for cell in cells if cell.task == name} == set(KINDS)


@pytest.mark.parametrize("suite", SUITES)
def test_datasets_are_planned_after_what_they_need(suite):
    cells = cells_of(SUITES[suite])
    plan, made = plan_datasets(cells), set()
    for step in plan:
        assert made.issuperset(step.needs)
        made.add(step.path)
    assert len(made) == len(plan)
    assert made.issuperset(cell.dataset for cell in cells)
    # the tables show the online policies of every task
    assert made.issuperset(f"{cell.task}/expert.pth" for cell in cells)


def test_flags_take_a_part():
    args = parser_().parse_args(["--suite", "small", "--methods", "cql", "--seeds", "2"])
    cells = chosen(suite_of(args)[0], args)
    assert {cell.method for cell in cells} == {"cql"} and {cell.seed for cell in cells} == {0, 1}
    args = parser_().parse_args(["--suite", "small", "--methods", "sarsa"])
    with pytest.raises(CommandLineError, match="no cells"):
        chosen(SUITES["small"], args)


def test_a_flag_is_left_out_with_its_value():
    assert without(("--a", "1", "--b", "2", "--c", "3"), "--b") == ("--a", "1", "--c", "3")


@pytest.mark.parametrize("suite", SUITES)
def test_what_fitted_q_evaluation_judges_is_of_the_suite(suite):
    found = SUITES[suite]
    assert found.judged
    assert set(found.judged) <= {(cell.task, cell.kind) for cell in cells_of(found)}
