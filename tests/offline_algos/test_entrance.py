"""The way into the scripts: to train, or to use a checkpoint."""

from __future__ import annotations

import argparse
import importlib
import json

import pytest

from data_tools.command_line import ArgumentParser
from offline_algos import entrance
from tests.offline_algos import scripts, trained


@pytest.mark.parametrize("name", scripts.NAMES)
def test_every_script_can_use_a_checkpoint(name, capsys, tmp_path):
    assert "--watch needs --resume-path FILE" in trained.refusal(capsys, name, "--watch")
    missing = tmp_path / "policy.pth"
    flags = ("--eval-only", "--resume-path", missing)
    assert f"no checkpoint at {missing}" in trained.refusal(capsys, name, *flags)
    with pytest.raises(SystemExit):
        importlib.import_module(f"offline_algos.{name}").main(["--help"])
    shown = capsys.readouterr().out
    for flag in ("--watch", "--eval-only", "--resume-path FILE", "--eps-test P", "--buffer-size N",
                 "--save-buffer-name FILE", "--render"):  # fmt: skip
        assert flag in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume-path", "x"], "To go on with an interrupted run give --resume"),
        (["--resume-path", "x", "--load-buffer-name", "y"], "--resume-path needs --watch or"),
        (["--load-buffer-name", "y", "--eps-test", "0.1"], "--eps-test needs --watch"),
        (["--load-buffer-name", "y", "--render"], "--render needs --watch"),
        (["--load-buffer-name", "y", "--overwrite"], "--overwrite needs --watch"),
        (["--load-buffer-name", "y", "--buffer-size", "9"], "--buffer-size needs --watch"),
        (["--watch", "--eval-only", "--resume-path", "x"], "--watch and --eval-only: give one"),
        (["--watch", "--resume", "--resume-path", "x"], "--watch and --resume"),
        (["--eval-only", "--eps-test", "0.1", "--resume-path", "x"], "--eps-test belongs to"),
        (["--watch", "--buffer-size", "9", "--resume-path", "x"], "belongs to --save-buffer-name"),
        (["--watch", "--eps-test", "1.5", "--resume-path", "x"], "--eps-test: expected a number"),
        (["--watch", "--epochs", "3", "--resume-path", "x"], "--epochs"),
        (
            ["--watch", "--render", "--save-buffer-name", "a.hdf5", "--resume-path", "x"],
            "--render and --save-buffer-name",
        ),
        (["--eval-only", "--resume-path", "x", "--lr", "1e-3"], "error: --lr: --eval-only uses a"),
        (
            ["--watch", "--resume-path", "x", "--batch_size", "256", "--load-buffer-name", "d"],
            "--load-buffer-name, --batch-size: --watch uses a checkpoint as it was trained, and "
            "these flags have no part in that. Leave them out",
        ),
        (["--eval-only", "--resume-path", "x", "--compile", "0"], "--compile: --eval-only uses"),
        (["--watch", "--resume-path", "x", "--logdir", "log"], "--logdir: --watch uses"),
        (
            ["--watch", "--resume-path", "x", "--save-buffer-name", "y", "--num-test-envs", "3"],
            "--num-test-envs: --save-buffer-name uses a checkpoint",
        ),
        ([], "the following arguments are required: --load-buffer-name. See --help."),
    ],
)
def test_flags_that_do_not_go_together(flags, message, capsys):
    assert message in trained.refusal(capsys, "atari_style_il", *flags)


# What is neither a number nor a choice.
OTHER = {"data_device": ["cpu"]}


@pytest.mark.parametrize("mode", ["--watch", "--eval-only"])
@pytest.mark.parametrize("name", [*scripts.NAMES, *scripts.ONLINE])
def test_every_flag_is_used_or_refused_with_a_checkpoint(name, mode, capsys):
    """Also where its value is the default: only what was given counts, and all that was."""
    parser = importlib.import_module(f"offline_algos.{name}").make_parser()
    refused = set()
    for action in parser._actions:
        if action.dest == "help" or action.dest in entrance.USED[mode]:
            continue
        flag = action.option_strings[-1]
        known = action.default if isinstance(action.default, int | float | str) else None
        value = next(iter(action.choices or OTHER.get(action.dest, "1")))
        words = [flag] if action.nargs == 0 else [flag, str(value if known is None else known)]
        error = trained.refusal(capsys, name, mode, "--resume-path", "none.pth", *words)
        assert f"{flag}: {mode} uses a checkpoint as it was trained" in error
        refused.add(action.dest)
    assert {"epoch", "lr", "batch_size", "norm_obs", "hidden_sizes", "compile"} <= refused
    used = ("--seed", "1", "--device", "cpu", "--threads", "1", "--test-start", "2020-01-02")
    error = trained.refusal(capsys, name, mode, "--resume-path", "none.pth", *used)
    assert "no checkpoint at none.pth" in error


def test_a_run_remembers_the_flags_of_training_only(il_run):
    arguments = json.loads((il_run / "result.json").read_text())["arguments"]
    assert "epoch" in arguments
    assert not {"watch", "eval_only", "resume_path", *entrance.OF_WATCH} & set(arguments)


def test_a_script_s_own_flag_stays_its_own():
    def make_parser():
        parser = ArgumentParser()
        parser.add_argument("--buffer-size", type=int, default=7)
        return parser

    seen: list[argparse.Namespace] = []
    assert entrance.run_script(make_parser, seen.append, ["--buffer-size", "9"]) == 0
    assert entrance.run_script(make_parser, seen.append, []) == 0
    assert [vars(args) for args in seen] == [{"buffer_size": 9}, {"buffer_size": 7}]
