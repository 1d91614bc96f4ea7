"""Testing a checkpoint again and watching it, without its data."""

from __future__ import annotations

import json
import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch

from offline_algos.checkpoint import load_policy, save_policy
from tests.offline_algos import samples, trained


def result_of(run):
    return json.loads((run / "result.json").read_text())


def test_the_test_again_gives_the_numbers_of_the_run(il_run, tmp_path, capsys):
    """From the checkpoint alone: a copy of it elsewhere knows its market and its period."""
    copied = tmp_path / "other.pth"
    shutil.copy(il_run / "policy.pth", copied)
    flags = ("--eval-only", "--resume-path", copied, "--logdir", tmp_path)
    made = []
    for _ in range(2):
        assert trained.use("atari_style_il", *flags) == 0
        out = capsys.readouterr().out
        assert "il policy" in out and "buy-and-hold" in out and "behaviour random" in out
        made.append(trained.last_json(out))
    first, second = made
    assert first["directory"] != second["directory"]
    assert first["test"] == second["test"]
    result = result_of(il_run)
    assert first["test"]["policy"] == result["test"]["best"]
    assert first["test"]["baselines"] == result["test"]["baselines"]
    assert first["evaluation"] == result["evaluation"]
    assert first["checkpoint"]["path"] == str(copied)
    assert not list(tmp_path.rglob("result.json")) and len(list(tmp_path.rglob("equity.csv"))) == 2


def test_a_run_s_directory_means_its_best_policy(il_run, continuous_run, tmp_path, capsys):
    for run, name in ((il_run, "atari_style_il"), (continuous_run, "d4rl_style_il")):
        for path, key in ((run, "best"), (run / "last.pth", "last")):
            flags = ("--eval-only", "--resume-path", path, "--logdir", tmp_path)
            assert trained.use(name, *flags) == 0
            made = trained.last_json(capsys.readouterr().out)
            assert made["test"]["policy"] == result_of(run)["test"][key]


def test_another_market_and_other_costs_are_those_of_training(
    il_run, dataset_file, tmp_path, capsys
):
    """Flags that chose a test period in training choose the same one here; nothing validates."""
    later = tmp_path / "later.csv"
    samples.frame(2500, start="2021-03-01", seed=5).to_csv(later)
    flags = ["--test-market", str(later), "--env", "transaction_fee=0.01"]
    again = trained.train("atari_style_il", dataset_file, tmp_path, *flags)
    expected = result_of(again)
    for run, more in ((again, []), (again, flags)):
        arguments = ("--eval-only", "--resume-path", run, "--logdir", tmp_path, *more)
        assert trained.use("atari_style_il", *arguments) == 0
        made = trained.last_json(capsys.readouterr().out)
        assert made["test"]["policy"] == expected["test"]["best"]
        nothing = {"validation": None} if more else {}
        assert made["evaluation"] == expected["evaluation"] | nothing
        assert made["configuration"]["transaction_fee"] == 0.01
    free = ("--eval-only", "--resume-path", again, "--env", "transaction_fee=0")
    assert trained.use("atari_style_il", *free, "--logdir", tmp_path) == 0
    made = trained.last_json(capsys.readouterr().out)
    assert made["evaluation"] == expected["evaluation"]
    assert made["test"]["baselines"]["random"]["metrics"]["fees_paid"] == 0.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--test-start", "2020-01-02"], "overlaps the dataset's collection span"),
        (["--test-end", "2020-01-01T12:00"], "0 decisions are left"),
        (["--env", "window_sizes=[4,7]"], "the checkpoint's observations"),
        (["--env", "episode_steps=5"], "the evaluation sets this itself"),
        (["--env", 'action_type="continuous"'], "the checkpoint discrete ones"),
        (["--test-market", "nowhere.csv"], "nowhere.csv"),
        (["--task", "CartPole-v1"], "is a checkpoint for Trade-Sequential-v0"),
    ],
)
def test_what_does_not_fit_the_checkpoint(flags, message, il_run, tmp_path, capsys):
    arguments = ("--eval-only", "--resume-path", il_run, "--logdir", tmp_path, *flags)
    assert message in trained.refusal(capsys, "atari_style_il", *arguments)
    assert not list(tmp_path.iterdir())


def test_an_overlap_that_is_asked_for(il_run, tmp_path, capsys):
    flags = ("--test-start", "2020-01-02", "--allow-overlap", "--logdir", tmp_path)
    assert trained.use("atari_style_il", "--eval-only", "--resume-path", il_run, *flags) == 0
    made = trained.last_json(capsys.readouterr().out)
    assert made["evaluation"]["test"]["start"] == "2020-01-02T00:00:00"
    assert made["evaluation"]["validation"] is None


@pytest.mark.parametrize(
    ("flags", "start", "end", "noted"),
    [
        (["--test-start", "2020-01-05 01:00"], "2020-01-05T01:00:00", None, False),
        (["--test-end", "2020-01-05"], None, "2020-01-05T00:00:00", False),
        (["--test-start", "2020-01-04"], "2020-01-04T00:00:00", None, True),
    ],
)
def test_other_dates_are_tested_whole(flags, start, end, noted, il_run, tmp_path, capsys):
    before = result_of(il_run)["evaluation"]
    assert before["validation"]["end"] > "2020-01-04" < before["test"]["start"] < "2020-01-04T12"
    arguments = ("--eval-only", "--resume-path", il_run, "--logdir", tmp_path, *flags)
    assert trained.use("atari_style_il", *arguments) == 0
    out = capsys.readouterr().out
    made = trained.last_json(out)["evaluation"]
    assert made["validation"] is None and "\nvalidation" not in out
    assert made["test"]["start"] == (start or before["test"]["start"])
    assert made["test"]["end"] == (end or before["test"]["end"])
    assert ("the checkpoint was chosen among others" in out) == noted


def test_another_market_is_tested_whole(il_run, tmp_path, capsys):
    later = tmp_path / "later.csv"
    samples.frame(start="2021-06-01").to_csv(later)
    arguments = ("--eval-only", "--resume-path", il_run, "--logdir", tmp_path)
    assert trained.use("atari_style_il", *arguments, "--test-market", later) == 0
    made = trained.last_json(capsys.readouterr().out)["evaluation"]
    assert made["validation"] is None
    assert (made["test"]["start"], made["test"]["end"]) == (
        "2021-06-01T00:55:00", "2021-06-05T04:00:00",
    )  # fmt: skip


def test_dates_that_chose_the_checkpoint_are_told_in_a_longer_file_too(il_run, tmp_path, capsys):
    longer = tmp_path / "longer.csv"
    samples.frame(8000).to_csv(longer)
    arguments = ("--eval-only", "--resume-path", il_run, "--logdir", tmp_path)
    dates = ("--test-market", longer, "--test-start", "2020-01-04")
    assert trained.use("atari_style_il", *arguments, *dates) == 0
    assert "chosen among others: a test on them may flatter it" in capsys.readouterr().out


def test_another_script_s_checkpoint(il_run, continuous_run, tmp_path, capsys):
    for name, run, right in (
        ("atari_style_cql", il_run, "atari_style_il.py"),
        ("d4rl_style_il", il_run, "atari_style_il.py"),
        ("atari_style_il", continuous_run, "d4rl_style_il.py"),
    ):
        error = trained.refusal(capsys, name, "--watch", "--resume-path", run)
        assert "is a checkpoint of il with" in error and f"take {right}" in error
    actor = load_policy(il_run / "policy.pth").actor
    save_policy(tmp_path / "bare.pth", actor, {"method": "il"})
    error = trained.refusal(
        capsys, "atari_style_il", "--watch", "--resume-path", tmp_path / "bare.pth"
    )
    assert "was not saved by a training script" in error


def watched_return(out):
    return float(out.split("episode 1: return ")[1].split(",")[0])


@pytest.mark.parametrize("name", ["atari_style_il", "d4rl_style_il", "d4rl_style_dt"])
def test_watching_a_market(name, il_run, continuous_run, transformer_run, tmp_path, capsys):
    run = {"atari_style_il": il_run, "d4rl_style_il": continuous_run}.get(name, transformer_run)
    flags = ("--watch", "--resume-path", run)
    assert trained.use(name, *flags) == 0
    out = capsys.readouterr().out
    best = result_of(run)["test"]["best"]
    assert watched_return(out) == pytest.approx(best["return"], rel=1e-5)
    assert f"{best['steps']} steps" in out and "max drawdown" in out
    noisy = []
    for seed in (1, 1, 2):
        assert trained.use(name, *flags, "--eps-test", "1", "--seed", seed) == 0
        noisy.append(watched_return(capsys.readouterr().out))
    assert noisy[0] == noisy[1] != noisy[2] and noisy[0] < best["return"]


def test_a_transformer_is_asked_for_other_returns(transformer_run, tmp_path, capsys):
    flags = ("--eval-only", "--resume-path", transformer_run, "--logdir", tmp_path)
    assert trained.use("d4rl_style_dt", *flags, "--target-return", "0.3", "-0.3") == 0
    made = trained.last_json(capsys.readouterr().out)["test"]
    assert set(made) == {"target 0.3", "target -0.3", "baselines"}
    assert made["target 0.3"]["return"] != made["target -0.3"]["return"]
    error = trained.refusal(capsys, "d4rl_style_dt", *flags, "--target-return", "best")
    assert "--target-return best" in error and "Give a number" in error


def test_the_picture_of_a_market(il_run, tmp_path, capsys):
    flags = ("--watch", "--resume-path", il_run, "--render")
    picture = tmp_path / "episode.png"
    assert trained.use("atari_style_il", *flags, picture) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 1
    error = trained.refusal(capsys, "atari_style_il", *flags, tmp_path / "episode.gif")
    assert "expected a name that ends in .png" in error
    error = trained.refusal(capsys, "atari_style_il", *flags, tmp_path / "no" / "episode.png")
    assert "there is no folder" in error


def test_a_window_needs_a_display(il_run, capsys, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    error = trained.refusal(
        capsys, "atari_style_il", "--watch", "--resume-path", il_run, "--render"
    )
    assert "display" in error and "--render FILE draws a picture" in error


@pytest.mark.parametrize("mode", ["--watch", "--eval-only"])
def test_a_market_has_no_number_of_episodes(mode, il_run, capsys):
    flags = (mode, "--resume-path", il_run, "--num-test-envs", "3")
    assert "--num-test-envs 3: " in trained.refusal(capsys, "atari_style_il", *flags)


def test_the_state_of_a_training_is_no_policy(il_run, capsys):
    flags = ("--eval-only", "--resume-path", il_run / "training.pth")
    error = trained.refusal(capsys, "atari_style_il", *flags)
    assert "the state that --resume goes on from" in error and "policy.pth" in error


def test_watching_another_task(cart_run, tmp_path, capsys):
    expected = result_of(cart_run)["test"]["best"]["returns"]
    flags = ("--resume-path", cart_run)
    assert trained.use("atari_style_il", "--watch", *flags) == 0
    out = capsys.readouterr().out
    shown = [float(line.split()[3].rstrip(",")) for line in out.splitlines() if "episode " in line]
    assert sorted(shown) == sorted(expected) and len(shown) == 3
    assert f"mean {np.mean(expected):.6g}" in out
    assert trained.use("atari_style_il", "--eval-only", *flags, "--logdir", tmp_path) == 0
    made = trained.last_json(capsys.readouterr().out)
    assert made["test"]["policy"]["returns"] == expected
    assert made["evaluation"]["episodes"] == 3
    assert trained.use("atari_style_il", "--watch", "--num-test-envs", 1, *flags) == 0
    assert "return of 1 episodes" in capsys.readouterr().out


class Dot(gym.Env):
    """A dot that moves to the left or to the right, drawn as a picture of eight columns."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.render_mode == "human":
            raise RuntimeError("no video device")
        self.place, self.steps = int(self.np_random.integers(2, 6)), 0
        return self._seen(), {}

    def step(self, action):
        self.place, self.steps = int(np.clip(self.place + 2 * action - 1, 0, 7)), self.steps + 1
        return self._seen(), float(self.place == 7), False, self.steps == 6, {}

    def _seen(self):
        return np.array([self.place / 4 - 1], np.float32)

    def render(self):
        picture = np.zeros((4, 8, 3), np.uint8)
        picture[:, self.place] = 255
        return picture


@pytest.fixture
def dot_run(tmp_path):
    from data_tools.rollouts import record

    gym.register("Dot-v0", entry_point=Dot)
    path = tmp_path / "dot.hdf5"
    record("Dot-v0", lambda seen, generator: generator.integers(0, 2, len(seen)), path,
           buffer_size=90, policy={"name": "random"})  # fmt: skip
    yield trained.train("atari_style_il", path, tmp_path)
    del gym.registry["Dot-v0"]


def test_the_picture_of_another_task_moves(dot_run, tmp_path, capsys):
    from PIL import Image

    flags = ("--watch", "--resume-path", dot_run, "--num-test-envs", 2, "--render")
    picture = tmp_path / "dot.gif"
    assert trained.use("atari_style_il", *flags, picture) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(picture)
    with Image.open(picture) as image:
        assert image.n_frames > 1 and image.info["duration"] >= 100
    error = trained.refusal(capsys, "atari_style_il", *flags)
    assert "--render: no video device" in error and "--render FILE" in error
    assert "ends in .gif" in trained.refusal(capsys, "atari_style_il", *flags, tmp_path / "x.png")


def half_reward(previous_equity, equity, **_):
    return 0.5 * np.log(equity / previous_equity)


def test_code_that_a_checkpoint_names_runs_only_if_the_user_names_it(il_run, tmp_path, capsys):
    policy = load_policy(il_run / "policy.pth")
    about = json.loads(json.dumps(policy.about))
    about["configuration"]["reward"] = f"callable:{__name__}:half_reward"
    save_policy(tmp_path / "policy.pth", policy.actor, about)
    flags = ("--eval-only", "--resume-path", tmp_path / "policy.pth", "--logdir", tmp_path)
    error = trained.refusal(capsys, "atari_style_il", *flags)
    assert "code of its maker's own" in error and "--env 'reward=" in error


def test_the_policy_s_random_numbers_are_seeded(il_run, capsys):
    torch.manual_seed(99)
    assert trained.use("atari_style_il", "--watch", "--resume-path", il_run, "--seed", 7) == 0
    assert torch.initial_seed() == 7
