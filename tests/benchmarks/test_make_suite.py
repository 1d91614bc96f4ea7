"""A suite from its configuration: what is made, that it is made once, and what a check finds."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from benchmarks import make_suite, suite_config, suite_plan
from benchmarks.suite_manifest import read_manifest
from data_tools.files import sha256
from data_tools.flat_layout import read_provenance
from tests.benchmarks.in_process import InProcess
from tests.offline_algos import samples

FILES = {
    "expert.pth", "medium.pth", "expert-300.hdf5", "medium-300.hdf5", "mixed-300.hdf5",
    "random-300.hdf5", "rule-based-300.hdf5",
}  # fmt: skip
CARTPOLE = ["--quick", "--tasks", "cartpole", "--sizes", "300"]
ENV = ['time_frames=["1min","5min"]', "window_sizes=[4,6]", "execute_on=5min"]


def make(folder, *flags, start=None):
    return make_suite.main(["--out", str(folder), *flags], start=start or InProcess())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "suite"
    assert make(folder, *CARTPOLE) == 0
    return folder


@pytest.fixture
def suite(whole, tmp_path):
    """A copy that may be damaged."""
    shutil.copytree(whole, tmp_path / "suite")
    return tmp_path / "suite"


def digests(folder):
    return {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file()}


def test_everything_is_there(whole):
    cards = {name.replace(".hdf5", ".md") for name in FILES if name.endswith(".hdf5")}
    assert {path.name for path in (whole / "cartpole").iterdir()} == FILES | cards
    assert {path.name for path in whole.iterdir()} == {"README.md", "manifest.json", "cartpole"}
    manifest = read_manifest(whole)
    entries = manifest["policies"] | manifest["files"]
    assert set(entries) == {f"cartpole/{name}" for name in FILES}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == sha256(whole / name)
        with h5py.File(whole / name) as root:
            assert len(root["_meta/rew"]) == entry["rows"] == entry["size"] == 300
            assert root["_meta/done"][:].sum() == entry["episodes"]
            assert f"--seed {entry['seed']} " in entry["command"]
        assert set(entry["reference_returns"]) == {"random", "expert"}
        assert entry["reference_returns"]["random"]["file"] == "cartpole/random-300.hdf5"
        card = (whole / name).with_suffix(".md").read_text()
        assert entry["sha256"] in card and entry["command"] in card
        assert f"{entry['behavior_return']:.6g} ± " in card
    assert len({entry["seed"] for entry in manifest["files"].values()}) == 5
    readme = (whole / "README.md").read_text()
    assert "[mixed 300](cartpole/mixed-300.md)" in readme


def test_nothing_names_the_machine(whole):
    for path in whole.rglob("*"):
        if path.is_file():
            assert str(whole.parent).encode() not in path.read_bytes(), path
    policy = read_provenance(whole / "cartpole/expert-300.hdf5")["policy"]
    assert policy["path"] == "expert.pth"
    assert policy["content_hash"] == sha256(whole / "cartpole/expert.pth")


def test_a_mixed_set_has_equal_parts(whole):
    provenance = read_provenance(whole / "cartpole/mixed-300.hdf5")
    members = provenance["policy"]["members"]
    assert [member["rows"] for member in members] == [100, 100, 100]
    assert [member["name"] for member in members] == ["random", "checkpoint", "checkpoint"]


def test_medium_is_the_expert_s_training_stopped(whole):
    policies = read_manifest(whole)["policies"]
    expert, medium = (policies[f"cartpole/{name}.pth"] for name in ("expert", "medium"))
    assert medium["epochs"] == medium["epoch"] <= expert["epoch"] <= expert["epochs"] == 2
    shared = medium["epochs"] + 1  # with the untrained policy's
    assert medium["validation_returns"] == expert["validation_returns"][:shared]
    assert f"--epoch {medium['epoch']} " in medium["command"]
    assert f"after epoch {medium['epoch']}:" in medium["definition"]


def test_the_same_call_gives_the_same_bytes(whole, tmp_path):
    assert make(tmp_path / "again", *CARTPOLE, "--jobs", "2") == 0
    assert digests(tmp_path / "again") == digests(whole)


def test_only_what_is_missing_is_made(suite, whole):
    (suite / "cartpole/random-300.hdf5").unlink()
    (suite / "cartpole/medium-300.hdf5").write_bytes(b"something else")
    start = InProcess()
    assert make(suite, *CARTPOLE, start=start) == 0
    written = [words[words.index("--save-buffer-name") + 1] for words in start.commands]
    assert sorted(written) == ["cartpole/medium-300.hdf5", "cartpole/random-300.hdf5"]
    assert digests(suite) == digests(whole)


def test_another_size_joins_what_is_there(suite):
    start = InProcess()
    flags = ["--quick", "--tasks", "cartpole", "--sizes", "400", "--kinds", "expert", "random"]
    assert make(suite, *flags, start=start) == 0
    assert len(start.commands) == 2  # no training
    files = read_manifest(suite)["files"]
    assert len(files) == 7
    reference = files["cartpole/mixed-300.hdf5"]["reference_returns"]["expert"]
    assert reference["file"] == "cartpole/expert-400.hdf5"


@pytest.mark.parametrize(("error", "code"), [(None, 2), (KeyboardInterrupt, 130)])
def test_what_was_whole_stays_and_the_rest_is_made_later(error, code, whole, tmp_path, capsys):
    folder = tmp_path / "suite"
    flags = ["--quick", "--tasks", "cartpole", "--sizes", "300", "--kinds", "random", "rule-based"]
    assert make(folder, *flags, start=InProcess("rule-based", error)) == code
    said = capsys.readouterr().err
    if error is None:
        assert said.startswith("error: making cartpole/rule-based-300.hdf5 failed: error: no luck")
        assert said.count("\n") == 1
    assert [*read_manifest(folder)["files"]] == ["cartpole/random-300.hdf5"]
    start = InProcess()
    assert make(folder, *flags, start=start) == 0
    assert len(start.commands) == 1
    for name in ("random-300.hdf5", "rule-based-300.hdf5"):
        assert sha256(folder / "cartpole" / name) == sha256(whole / "cartpole" / name)


def test_a_command_that_runs_is_ended_with_the_call(tmp_path):
    """Two at once: the first is running when the second fails."""
    ended = []

    class Endless:
        def poll(self):
            return None

        def terminate(self):
            ended.append("terminated")

        def wait(self):
            ended.append("waited for")

    failing = InProcess("rule-based")

    def start(words, folder, log):
        return failing(words, folder, log) if "balance" in words else Endless()

    flags = ["--tasks", "cartpole", "--sizes", "300", "--kinds", "random", "rule-based"]
    assert make(tmp_path / "suite", *flags, "--jobs", "2", start=start) == 2
    assert ended == ["terminated", "waited for"]


def test_a_check_opens_everything_with_tianshou(whole, capsys):
    assert make_suite.main(["--check", str(whole)]) == 0
    out = capsys.readouterr().out
    assert out.count("as the manifest says") == len(FILES) + 1


def test_a_check_finds_what_differs(suite, capsys):
    (suite / "cartpole/random-300.hdf5").unlink()
    with open(suite / "cartpole/expert-300.hdf5", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    manifest = json.loads((suite / "manifest.json").read_text())
    manifest["files"]["cartpole/rule-based-300.hdf5"]["episodes"] += 1
    manifest["files"]["cartpole/medium-300.hdf5"]["made_from"]["cartpole/medium.pth"] = "0"
    (suite / "manifest.json").write_text(json.dumps(manifest))
    assert make_suite.main(["--check", str(suite)]) == 1
    out = capsys.readouterr().out
    assert "cartpole/random-300.hdf5: is not there" in out
    assert "cartpole/expert-300.hdf5: is not the file of the manifest" in out
    assert "cartpole/rule-based-300.hdf5: has (rows, episodes)" in out
    assert "cartpole/medium-300.hdf5: was made from another cartpole/medium.pth" in out
    assert out.endswith("4 faults\n")


def test_a_check_runs_no_code_of_a_file(suite, capsys):
    name = "cartpole/random-300.hdf5"
    with h5py.File(suite / name, "r+") as root:
        root["_meta/policy"] = np.frombuffer(b"cos\nsystem\n", np.uint8)
        root["_meta/policy"].attrs["__data_type__"] = "pickled_ndarray"
    manifest = json.loads((suite / "manifest.json").read_text())
    manifest["files"][name]["sha256"] = sha256(suite / name)
    (suite / "manifest.json").write_text(json.dumps(manifest))
    assert make_suite.main(["--check", str(suite)]) == 1
    out = capsys.readouterr().out
    assert f"{name}: cannot be opened: " in out and "has pickled parts" in out


def test_the_sets_of_a_market_file(tmp_path):
    market, folder = tmp_path / "bars.csv", tmp_path / "suite"
    samples.frame(2500).to_csv(market)
    env = [word for pair in ENV for word in ("--env", pair)]
    flags = ["--quick", "--market", str(market), *env, "--sizes", "300", "--tasks", "market-levels"]
    assert make(folder, *flags, "--kinds", "expert", "random", "rule-based") == 0
    manifest = read_manifest(folder)
    files = {entry["kind"]: entry for entry in manifest["files"].values()}
    assert len(files) == 3
    spans = [entry["span"] for entry in files.values()]
    assert spans[0] == spans[1] == spans[2]
    assert {entry["observation_columns"] for entry in files.values()} == {samples.COLUMNS}
    expert = manifest["policies"]["market-levels/expert.pth"]
    assert set(expert["test"]) == {"expert", "flat", "buy-and-hold", "random", "ma-cross"}
    assert expert["floor"] == 0.0 and expert["test"]["flat"]["total_return"] == 0.0
    assert expert["test_period"]["start"] > spans[0]["end"]
    card = (folder / "market-levels/expert-300.md").read_text()
    assert "license: other" in card and "| buy-and-hold | " in card
    assert make_suite.main(["--check", str(folder)]) == 0


def test_a_command_in_a_process_of_its_own(whole, tmp_path):
    folder = tmp_path / "suite"
    flags = ["--out", str(folder), "--tasks", "cartpole", "--sizes", "300", "--kinds", "random"]
    assert make_suite.main(flags) == 0
    name = "cartpole/random-300.hdf5"
    assert sha256(folder / name) == sha256(whole / name)


def test_a_dry_run_says_what_would_be_done(tmp_path, capsys):
    assert make(tmp_path / "none", "--dry-run", "--sizes", "10k", "1M") == 0
    out = capsys.readouterr().out
    tasks, kinds = len(suite_config.TASKS), len(suite_config.KINDS)
    files, rows = tasks * (2 + 2 * kinds), tasks * kinds * 1_010_000  # an expert and a medium one
    assert out.startswith(f"{files} files with {rows:,} transitions")
    assert "python -m benchmarks.mix pendulum/random-1M.hdf5 pendulum/medium-1M.hdf5" in out
    assert "--epoch EPOCH " in out and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sizes", "10x"], "expected such as 10k, 100k or 1M, got '10x'"),
        (["--sizes", "0"], "expected such as 10k"),
        (["--tasks", "chess"], "invalid choice: 'chess'"),
        (["--tasks", "market-levels"], "needs a market: --market FILE"),
        (["--market", "nowhere.csv"], "nowhere.csv"),
        (["--env", "leverage=2"], "--env is for the environment of --market"),
        (["--jobs", "0"], "expected --jobs >= 1"),
        (["--seed", "-1"], "--seed between 0 and 100"),
    ],
)
def test_what_cannot_be_made(flags, message, tmp_path, capsys):
    assert make(tmp_path / "none", *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert not list(tmp_path.iterdir())


def test_a_folder_of_another_suite_is_left_alone(suite, tmp_path, capsys):
    before = digests(suite)
    assert make(suite, *CARTPOLE, "--seed", "1") == 2
    assert "holds a suite with --seed 0, and 1 is asked for" in capsys.readouterr().err
    (suite / "manifest.json").write_text('{"format": "something"}')
    assert make(suite, *CARTPOLE) == 2
    assert "is no manifest of a suite" in capsys.readouterr().err
    assert make_suite.main(["--check", str(tmp_path)]) == 2
    assert "has no manifest.json" in capsys.readouterr().err
    del before["manifest.json"]
    assert before.items() <= digests(suite).items()


def test_a_disk_too_small_is_told_before(tmp_path, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    start = InProcess()
    assert make(tmp_path / "suite", "--sizes", "1M", start=start) == 2
    assert "GB are to be written and 1.0 GB are free" in capsys.readouterr().err
    assert not start.commands


@pytest.mark.parametrize(
    ("returns", "floor", "epoch", "wanted"),
    [
        ([9.0, 20.0, 180.0, 480.0, 500.0, 100.0], 20.0, 4, 2),
        ([9.0, 20.0, 480.0, 500.0], 20.0, 3, 1),
        ([9.0, 500.0, 170.0], 20.0, 1, 1),
        ([-0.7, -0.1, 0.1, 0.05, 0.3], 0.0, 4, 2),
        ([-0.7, -0.3, -0.1, -0.2], 0.0, 2, 1),  # the expert is worse than the floor
    ],
)
def test_which_epoch_is_medium(returns, floor, epoch, wanted):
    expert = {"validation_returns": returns, "floor": floor, "epoch": epoch}
    assert suite_plan.medium_epoch(expert)[0] == wanted


def test_a_quick_task_keeps_its_other_flags():
    task = suite_config.TASKS[0]
    quick = suite_config.quickened(task).training
    for flags in (task.training, quick):
        assert flags.count("--epoch") == 1
    assert quick[quick.index("--epoch") + 1] == "2"
    assert quick[quick.index("--gamma") + 1] == "0.9"
    assert "--hidden-sizes 8 --num-quantiles" in " ".join(quick)
