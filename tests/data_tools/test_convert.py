"""Conversions there and back lose nothing; what is refused leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from tianshou.data import Batch, ReplayBuffer

from data_tools import convert as module
from data_tools.convert import convert, recognise
from data_tools.formats import trajectories
from data_tools.formats.carried import FILE
from data_tools.formats.scalars import read_text, write_text
from data_tools.hdf5 import load_buffer, read_provenance
from tests.data_tools.formats.comparing import NAMES, back, content, refused, stock, there
from tests.data_tools.transitions import REPOSITORY, Transitions

FORMATS = list(NAMES)


@pytest.fixture(params=[False, True], ids=["discrete", "continuous"])
def made(request, tmp_path):
    transitions = Transitions(301, 4, continuous=request.param)
    assert (transitions.terminated & transitions.truncated).any()  # both at once
    return transitions.write(tmp_path / "made.hdf5")


@pytest.mark.parametrize("target", FORMATS)
def test_there_and_back_gives_the_same_bytes(made, target, tmp_path):
    foreign = there(made, target, tmp_path)
    assert recognise(foreign) == target
    returned = back(foreign, tmp_path)
    assert returned.read_bytes() == made.read_bytes()
    assert read_provenance(returned) == read_provenance(made)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("steps", [30, 50, 73], ids=["part-filled", "full", "wrapped"])
def test_there_and_back_keeps_a_stock_buffer_whole(target, steps, tmp_path):
    """Extra columns, infos, stacking, an unfinished episode, the place of the next transition."""
    buffer = stock(tmp_path / "stock.hdf5", 50, steps, stack_num=2)
    foreign = there(tmp_path / "stock.hdf5", target, tmp_path)
    returned = back(foreign, tmp_path)
    assert content(returned) == content(tmp_path / "stock.hdf5")
    opened = ReplayBuffer.load_hdf5(str(returned))
    assert (opened._insertion_idx, opened.stack_num) == (buffer._insertion_idx, 2)
    np.testing.assert_array_equal(opened.prev(np.arange(30)), buffer.prev(np.arange(30)))
    np.testing.assert_array_equal(opened.policy.logp, buffer.policy.logp)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("rows", [1, 3])
def test_small_blocks_make_the_same_files(made, rows, target, tmp_path, monkeypatch):
    """However few rows are held at a time."""
    (tmp_path / "whole").mkdir()
    whole = there(made, target, tmp_path / "whole")
    monkeypatch.setattr(trajectories, "BLOCK_BYTES", rows * 100)
    foreign = there(made, target, tmp_path)
    assert back(foreign, tmp_path).read_bytes() == made.read_bytes()
    files = sorted(f.relative_to(whole) for f in whole.rglob("*") if f.is_file())
    for name in files or [""]:
        left, right = whole / name if files else whole, foreign / name if files else foreign
        if left.suffix in (".hdf5", ".h5"):
            assert content(left) == content(right)
        else:
            assert left.read_bytes() == right.read_bytes()


RANDOM = np.random.default_rng(0)


KINDS = {
    "float64 actions": (
        lambda i: np.array([-0.0 if i % 2 else 0.0, i]),
        lambda i: np.array([i, 0.1]),
    ),
    "int32 actions": (lambda i: np.array([i, 2], np.int16), lambda i: np.int32(i)),
    "half precision": (lambda i: np.full((2, 3), i, np.float16), lambda i: np.full(1, 0.3, "f4")),
    "matrix actions": (lambda i: np.array([i, 0.5]), lambda i: np.full((2, 2), i, np.float32)),
    "bits": (lambda i: np.array([i, 0.5]), lambda i: np.eye(3, dtype=np.int64)[i % 3]),
    "unsigned": (lambda i: np.array([i, 5], np.uint16), lambda i: np.float32(i / 7)),
    "scalars": (lambda i: np.float32(i), lambda i: i % 2),
    "broken chain": (lambda i: RANDOM.normal(size=2), lambda i: i % 2),
}


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_number_comes_back(kind, target, tmp_path):
    obs, act = KINDS[kind]
    buffer = ReplayBuffer(12)
    for i in range(12):
        buffer.add(
            Batch(
                obs=obs(i), act=act(i), rew=float(i), terminated=i == 5, truncated=i in (5, 8),
                obs_next=obs(i + 1), info={},
            )
        )  # fmt: skip
    path = tmp_path / "stock.hdf5"
    buffer.save_hdf5(str(path))
    with h5py.File(path, "r+") as root:
        del root["_random_state"]
    foreign = there(path, target, tmp_path)
    assert content(back(foreign, tmp_path)) == content(path)


def pictures(path, single):
    """A stock buffer of uint8 pictures."""
    random = np.random.default_rng(0)
    shape = (12, 10) if single else (3, 12, 10)
    frames = random.integers(0, 256, (21, *shape), dtype=np.uint8)
    buffer = ReplayBuffer(20)
    for step in range(20):
        buffer.add(transition(frames[step], frames[step + 1], truncated=step == 19, step=step))
    buffer.save_hdf5(str(path))
    with h5py.File(path, "r+") as root:
        del root["_random_state"]
    return frames


def transition(obs, after, truncated, step):
    return Batch(
        obs=obs, act=step % 3, rew=0.5, terminated=False, truncated=truncated, obs_next=after,
        info={},
    )  # fmt: skip


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("single", [True, False])
def test_pictures_stay_bytes(target, single, tmp_path):
    frames = pictures(tmp_path / "stock.hdf5", single)
    foreign = there(tmp_path / "stock.hdf5", target, tmp_path)
    returned = back(foreign, tmp_path)
    assert content(returned) == content(tmp_path / "stock.hdf5")
    opened, _ = load_buffer(returned)
    assert opened.obs.dtype == np.uint8
    np.testing.assert_array_equal(opened.obs, frames[:20])
    np.testing.assert_array_equal(opened.obs_next, frames[1:])


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_through_two_formats_and_back(first, second, tmp_path):
    if first == second:
        return
    source = Transitions(60, 2, seed=3).write(tmp_path / "made.hdf5")
    foreign = there(source, first, tmp_path)
    other = there(foreign, second, tmp_path)
    assert back(other, tmp_path).read_bytes() == source.read_bytes()


@pytest.mark.parametrize("target", FORMATS)
def test_what_was_changed_since_is_believed(target, tmp_path):
    """The part that carries our own file does not overrule other transitions."""
    source = Transitions(60, 2, continuous=True).write(tmp_path / "made.hdf5")
    foreign = there(source, target, tmp_path)
    holder = next(foreign.rglob(FILE)) if foreign.is_dir() else foreign
    with h5py.File(holder, "r+") as root:
        group = root["metadata/gym_trade" if target == "d4rl" else "gym_trade"]
        document = read_text(group, "json")
        del group["json"]
        write_text(group, "json", document | {"rows": 61})
    result = convert(foreign, tmp_path / "back.hdf5")
    assert result.transitions == 60
    assert "restored" not in result.facts
    assert read_provenance(tmp_path / "back.hdf5") is None  # nobody knows the task
    np.testing.assert_array_equal(
        load_buffer(tmp_path / "back.hdf5")[0].rew, load_buffer(source)[0].rew
    )


def test_a_target_is_only_replaced_when_asked(tmp_path):
    source = Transitions(20, 2).write(tmp_path / "made.hdf5")
    for target in FORMATS:
        place = there(source, target, tmp_path)
        refused(source, place, "exists", "--overwrite", target_format=target)
        convert(source, place, target_format=target, overwrite=True)
        assert recognise(place) == target


def test_refuses_before_it_works(tmp_path):
    source = Transitions(20, 2).write(tmp_path / "made.hdf5")
    target = tmp_path / "other"
    refused(tmp_path / "none.hdf5", target, "does not exist")
    refused(source, target, "is a dataset of tianshou", "--from tianshou", source_format="d4rl")
    refused(source, target, "expected one of", source_format="csv")
    refused(source, target, "expected one of", target_format="rlu")
    refused(source, target, "ends in a version", "other-v0", target_format="minari")
    refused(source, source, "lies in the source", overwrite=True)
    td = there(source, "torchrl", tmp_path)
    refused(td, td / "x.hdf5", "lies in the source")
    refused(td, target, "already", target_format="torchrl")
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    refused(tmp_path / "text.csv", target, "no format that is recognised", "--from")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", target, "no format that is recognised")
    with h5py.File(tmp_path / "odd.hdf5", "w") as root:
        root["x"] = 1
    refused(tmp_path / "odd.hdf5", target, "no format that is recognised")
    refused(tmp_path / "odd.hdf5", target, "lacks observations", source_format="d4rl")
    refused(tmp_path / "odd.hdf5", target, "no file of d3rlpy", source_format="d3rlpy")
    refused(tmp_path / "odd.hdf5", target, "another layout", source_format="tianshou")
    refused(tmp_path / "odd.hdf5", target, "no dataset of Minari", source_format="minari")
    refused(tmp_path / "odd.hdf5", target, "no memory-mapped", source_format="torchrl")
    refused(tmp_path / "odd.hdf5", target, "checksum", source_format="rlu")


def test_not_finite_numbers_are_refused(tmp_path):
    source = Transitions(20, 2).write(tmp_path / "made.hdf5")
    foreign = there(source, "d4rl", tmp_path)
    with h5py.File(foreign, "r+") as root:
        root["rewards"][7] = np.nan
    refused(foreign, tmp_path / "x.hdf5", "rew of transition 7 is nan")


def test_made_up_sizes_are_refused(tmp_path):
    with h5py.File(tmp_path / "huge.hdf5", "w") as root:
        for name, shape in (("observations", (2**44, 3)), ("actions", (2**44, 1))):
            root.create_dataset(name, shape, np.float32, chunks=(1024, shape[1]))
        for name in ("rewards", "terminals"):
            root.create_dataset(name, (2**44,), np.float32, chunks=(1024,))
    assert (tmp_path / "huge.hdf5").stat().st_size < 10_000
    refused(tmp_path / "huge.hdf5", tmp_path / "x.hdf5", "does not fit into memory")
    refused(tmp_path / "huge.hdf5", tmp_path / "x.hdf5", "claims", source_format="d3rlpy")


def test_a_damaged_record_of_the_source_is_refused(tmp_path):
    source = Transitions(20, 2, continuous=True).write(tmp_path / "made.hdf5")
    with h5py.File(source, "r+") as root:
        for format_name in ("minari", "torchrl", "d3rlpy"):
            group = root.require_group("source")
            if "json" in group:
                del group["json"]
            write_text(group, "json", {"format": format_name})
            root.flush()
            refused(source, tmp_path / NAMES[format_name], "recorded", target_format=format_name)


def test_the_command_says_what_it_did(tmp_path, capsys):
    source = Transitions(20, 2).write(tmp_path / "made.hdf5")
    assert module.main([str(source), str(tmp_path / "x-v0"), "--to", "minari"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["20 transitions, tianshou to minari", str(tmp_path / "x-v0")]
    assert "20.0/20.0" in err  # the bar
    assert module.main([str(source), str(tmp_path / "x-v0"), "--to", "minari"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_the_module_runs():
    done = subprocess.run(
        [sys.executable, "-m", "data_tools.convert", "--help"],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0
    for word in ("--from", "--to", "--trust", "--overwrite", "RL Unplugged", "Minari"):
        assert word in done.stdout


@pytest.mark.parametrize("target", FORMATS)
def test_what_may_not_be_read_or_written_is_one_line(target, made, tmp_path, monkeypatch, capsys):
    goal = tmp_path / "goal-v0"
    for mode, message in ((os.W_OK, "is read-only. Choose another"), (os.R_OK, "cannot be read")):
        # root, who runs many a test, has every right whatever the permissions are
        monkeypatch.setattr(os, "access", lambda path, asked, taken=mode: not asked & taken)
        assert module.main([str(made), str(goal), "--to", target]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [made]
