"""RL Unplugged's Atari shards, by transition and by episode."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from data_tools.convert import convert, recognise
from data_tools.formats.tfrecord import masked_crc, parse_example
from data_tools.hdf5 import load_buffer
from tests.data_tools.formats import tfrecords
from tests.data_tools.formats.comparing import back, refused, there


def converted(path, tmp_path):
    result = convert(path, tmp_path / "ours.hdf5", overwrite=True)
    return load_buffer(tmp_path / "ours.hdf5")[0], result


def test_checksums_and_messages():
    assert tfrecords.crc32c(b"123456789") == 0xE3069283  # the catalogued check value
    for content in (b"", b"123456789", bytes(range(256))):
        assert masked_crc(content).to_bytes(4, "little") == tfrecords.masked(content)
    features = {"a": [1, -5, 2**40], "b": [0.5, -2.0], "c": [b"x", b""]}
    for packed in (True, False):
        found = parse_example(tfrecords.example(features, packed), "here")
        assert found["a"].tolist() == features["a"] and found["b"].tolist() == features["b"]
        assert found["c"] == features["c"]


@pytest.mark.parametrize("packed", [True, False])
def test_transitions_in_order_become_single_frames(packed, tmp_path):
    examples, seen = tfrecords.transitions((40, 50, 30), (True, False, True))
    path = tfrecords.write(tmp_path / "shard", examples, packed)
    assert recognise(path) == "rlu"
    buffer, result = converted(path, tmp_path)
    assert buffer.obs.shape == (120, 84, 84) and buffer.obs.dtype == np.uint8
    assert buffer.stack_num == 4 and result.facts["frames"] == "single"
    np.testing.assert_array_equal(buffer.obs, np.concatenate([made[:-1] for made in seen]))
    np.testing.assert_array_equal(buffer.obs_next, np.concatenate([made[1:] for made in seen]))
    assert np.flatnonzero(buffer.terminated).tolist() == [39, 119]
    assert np.flatnonzero(buffer.truncated).tolist() == [89]  # a break is no death
    assert buffer.rew[:4].tolist() == [-1, 0, 1, -1] and buffer.act[:5].tolist() == [0, 1, 2, 3, 0]
    stacked = buffer.get(np.array([45]), "obs")  # Tianshou stacks what the record had
    np.testing.assert_array_equal(stacked[0], seen[1][2:6])


def test_transitions_in_disorder_keep_their_stacks(tmp_path):
    examples, seen = tfrecords.transitions((10, 10), (True, True))
    order = np.random.default_rng(0).permutation(20)
    path = tfrecords.write(tmp_path / "shard", [examples[i] for i in order])
    buffer, _ = converted(path, tmp_path)
    assert (buffer.obs.shape, buffer.stack_num) == ((20, 4, 84, 84), 1)
    for row, number in enumerate(order):
        game, step = divmod(number, 10)
        np.testing.assert_array_equal(buffer.obs[row, 3], seen[game][step])
        np.testing.assert_array_equal(buffer.obs_next[row, 3], seen[game][step + 1])
        np.testing.assert_array_equal(buffer.obs_next[row, :3], buffer.obs[row, 1:])
    assert buffer.terminated.sum() == 2 and not (buffer.terminated & buffer.truncated).any()


def test_episodes_hold_one_transition_less_than_frames(tmp_path):
    examples, seen = tfrecords.episodes((6, 9, 1), (True, False, True))
    buffer, result = converted(tfrecords.write(tmp_path / "shard", examples), tmp_path)
    assert len(buffer) == 5 + 8 and buffer.stack_num == 4
    np.testing.assert_array_equal(buffer.obs, np.concatenate([seen[0][:-1], seen[1][:-1]]))
    np.testing.assert_array_equal(buffer.obs_next, np.concatenate([seen[0][1:], seen[1][1:]]))
    assert np.flatnonzero(buffer.terminated).tolist() == [4]
    assert np.flatnonzero(buffer.truncated).tolist() == [12]
    assert buffer.rew[:5].tolist() == [0, 10, 20, 30, 40]  # not clipped
    assert buffer.rew.dtype == np.float32
    assert any("one frame" in note for note in result.notes)


def test_a_converted_shard_goes_through_other_formats(tmp_path):
    examples, _ = tfrecords.episodes((6, 9), (True, False))
    ours = back(tfrecords.write(tmp_path / "shard", examples), tmp_path, "ours.hdf5")
    for target in ("d4rl", "torchrl", "minari", "d3rlpy"):
        returned = back(there(ours, target, tmp_path), tmp_path, f"{target}.back")
        np.testing.assert_array_equal(load_buffer(returned)[0].obs, load_buffer(ours)[0].obs)
        assert load_buffer(returned)[0].stack_num == 4


def test_damaged_shards_are_refused(tmp_path):
    examples, _ = tfrecords.episodes((6, 9), (True, False))
    path, target = tmp_path / "shard", tmp_path / "x.hdf5"
    whole = gzip.decompress(tfrecords.write(path, examples).read_bytes())
    for change, part in (
        (lambda b: b[:-5], "cut short"),
        (lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], "checksum is wrong"),
        (lambda b: b[:3] + b"\x07" + b[4:], "checksum is wrong"),
        (lambda b: huge() + b[12:], "claims"),
        (lambda b: b"", "empty"),
        (lambda b: tfrecords.record(b"\x0a\xff\xff"), "no tf.train.Example"),
        (lambda b: tfrecords.record(b"\x0a\x00"), "features seen: (none)"),
    ):
        path.write_bytes(gzip.compress(change(whole)))
        refused(path, target, part, source_format="rlu")
    path.write_bytes(gzip.compress(whole)[:-60])
    refused(path, target, "damaged", source_format="rlu")


def huge():
    length = (2**50).to_bytes(8, "little")
    return length + tfrecords.masked(length)


def test_frames_must_be_grey_pictures_of_84_by_84(tmp_path):
    examples, _ = tfrecords.episodes((6,), (True,))
    target = tmp_path / "x.hdf5"
    for picture, part in (
        (b"no picture", "cannot be read"),
        (tfrecords.png(np.zeros((9, 9), np.uint8)), "(9, 9)"),
    ):
        examples[0]["observations"][2] = picture
        refused(tfrecords.write(tmp_path / "shard", examples), target, part, "record 0")
    examples[0]["discounts"] = [1.0]
    refused(tfrecords.write(tmp_path / "shard", examples), target, "discounts", "Expected 6")
