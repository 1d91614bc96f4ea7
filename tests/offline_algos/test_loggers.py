"""`--logger`: where curves go, through a script."""

from __future__ import annotations

import csv
import importlib.machinery
import importlib.util
import json

import pytest

from offline_algos import loggers
from offline_algos.training_log import TrainingLog
from tests.offline_algos import scripts

NAME = "atari_style_il"
LOSSES = ["loss/loss"]


def rows(folder):
    """The rows of the only table below a folder, as text."""
    (path,) = folder.rglob(loggers.PROGRESS)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["tensorboard", "csv", "none"])
def test_what_each_logger_leaves(name, dataset_file, tmp_path):
    assert scripts.run(NAME, dataset_file, tmp_path, "--logger", name) == 0
    directory, _ = scripts.only_result(tmp_path)
    left = {path.name.split(".")[0] for path in directory.iterdir()}
    expected = {"policy", "last", "training", "result", "equity"}
    more = {"tensorboard": {"events"}, "csv": {"progress"}, "none": set()}
    assert left == expected | more[name]


def test_a_row_an_epoch(dataset_file, tmp_path):
    assert scripts.run(NAME, dataset_file, tmp_path, "--logger", "csv") == 0
    _, result = scripts.only_result(tmp_path)
    table = rows(tmp_path)
    assert list(table[0]) == [*loggers.COLUMNS, *LOSSES]
    assert [row["step"] for row in table] == ["0", "20", "40"]
    assert [row["epoch"] for row in table] == ["0", "1", "2"]
    assert [float(row["validation_return"]) for row in table] == result["validation_returns"]
    assert float(table[2]["loss/loss"]) == result["losses"]["loss"]
    assert table[0]["loss/loss"] == table[0]["updates_per_second"] == ""
    assert 0.0 < float(table[1]["seconds"]) < float(table[2]["seconds"])


def test_rows_can_be_read_while_the_run_goes(dataset_file, tmp_path, monkeypatch):
    seen = []
    note = TrainingLog.log_info_data

    def look(self, log_data, step):
        note(self, log_data, step)
        seen.append(len(rows(tmp_path)))

    monkeypatch.setattr(TrainingLog, "log_info_data", look)
    assert scripts.run(NAME, dataset_file, tmp_path, "--logger", "csv", "--epoch", "3") == 0
    assert seen == [2, 3, 4]


@pytest.mark.parametrize(("method", "step", "before"), [
    ("log_update_data", 25, 2),  # in the second epoch
    ("log_info_data", 2, 3),  # the second epoch has its row, and no state yet
    ("log_update_data", 5, 0),
])  # fmt: skip
def test_a_resumed_table_has_each_epoch_once(method, step, before, dataset_file, tmp_path):
    flags = ["--logger", "csv", "--epoch", "3"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        note = getattr(TrainingLog, method)

        def interrupt(self, log_data, at):
            note(self, log_data, at)
            if at == step:
                raise KeyboardInterrupt

        patch.setattr(TrainingLog, method, interrupt)
        scripts.run(NAME, dataset_file, tmp_path, *flags)
    if not before:
        assert not list(tmp_path.rglob(loggers.PROGRESS))
        return
    assert len(rows(tmp_path)) == before
    assert scripts.run(NAME, dataset_file, tmp_path, *flags, "--resume") == 0
    _, result = scripts.only_result(tmp_path)
    table = rows(tmp_path)
    assert [row["epoch"] for row in table] == ["0", "1", "2", "3"]
    assert [float(row["validation_return"]) for row in table] == result["validation_returns"]


def test_half_a_row_is_dropped(tmp_path):
    progress = loggers.Progress(tmp_path)
    row = dict(zip(loggers.COLUMNS, (1, 20, 0.5, 100.0, 3.0), strict=True))
    progress.add(row, {"loss": 1.0}, -0.5)
    whole = (tmp_path / loggers.PROGRESS).read_text()
    with (tmp_path / loggers.PROGRESS).open("a") as file:
        file.write("2,40,0.")
    progress.keep(1)
    assert (tmp_path / loggers.PROGRESS).read_text() == whole
    progress.keep(0)
    assert not list(tmp_path.iterdir())


def test_wandb_offline(dataset_file, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    logged = []
    write = loggers.WandbLogger.write

    def note(self, step_type, step, data):
        write(self, step_type, step, data)
        logged.append((step_type, dict(self._run.summary)))

    monkeypatch.setattr(loggers, "UPDATE_INTERVAL", 10)
    monkeypatch.setattr(loggers.WandbLogger, "write", note)
    assert scripts.run(NAME, dataset_file, tmp_path / "log", "--logger", "wandb") == 0
    directory, result = scripts.only_result(tmp_path / "log")
    assert list((directory / "wandb").glob("offline-run-*/*.wandb"))
    assert not list(here.iterdir())
    kinds = [kind for kind, _ in logged]
    assert kinds.count("update/update_step") == 4 and kinds.count("info/epoch") == 2
    last = logged[-1][1]
    assert last["step"] == 40
    assert last["test/returns_stat/mean"] == pytest.approx(result["last_return"])
    assert json.loads(json.dumps(last["update/smoothed_loss/loss"])) > 0.0


def test_a_missing_wandb_names_the_extra(dataset_file, tmp_path, capsys, monkeypatch):
    for spec in (None, importlib.machinery.ModuleSpec("wandb", None)):  # none, or just a folder
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, spec=spec: spec)
        assert scripts.run(NAME, dataset_file, tmp_path, "--logger", "wandb") == 2
        error = capsys.readouterr().err
        assert error.startswith("error: argument --logger: the package wandb is not installed")
        assert "gym-trade[wandb]" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_refusal_of_wandb_is_one_line(dataset_file, tmp_path, capsys, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**_):
        raise wandb.errors.UsageError("No API key configured.\nmore")

    monkeypatch.setattr(wandb, "init", refuse)
    assert scripts.run(NAME, dataset_file, tmp_path, "--logger", "wandb") == 2
    error = capsys.readouterr().err
    assert "--logger wandb: No API key configured. Log in with 'wandb login'" in error
    assert error.count("\n") == 1
