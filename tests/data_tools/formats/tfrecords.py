"""TFRecords of Atari frames, written here by rules of their own."""

from __future__ import annotations

import gzip
import io
import struct

import numpy as np
from PIL import Image


def crc32c(content):
    """Bit by bit, as RFC 3720 has it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(content):
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(number):
    number &= 2**64 - 1
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features, packed=True):
    """A serialised tf.train.Example of lists of bytes, floats or whole numbers."""
    entries = b""
    for name, values in features.items():
        if isinstance(values[0], bytes):
            feature = field(1, b"".join(field(1, value) for value in values))
        elif isinstance(values[0], float):
            numbers = [struct.pack("<f", value) for value in values]
            inner = (
                field(1, b"".join(numbers)) if packed else b"".join(b"\x0d" + n for n in numbers)
            )
            feature = field(2, inner)
        else:
            numbers = [varint(value) for value in values]
            inner = (
                field(1, b"".join(numbers)) if packed else b"".join(b"\x08" + n for n in numbers)
            )
            feature = field(3, inner)
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def record(content):
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content)


def write(path, examples, packed=True):
    content = b"".join(record(example(features, packed)) for features in examples)
    path.write_bytes(gzip.compress(content))
    return path


def frames(count, seed=0):
    """Frames that compress to little, so that checksums are quick."""
    random = np.random.default_rng(seed)
    made = np.zeros((count, 84, 84), np.uint8)
    for frame in made:
        frame[random.integers(84), random.integers(84)] = random.integers(1, 256)
    return made


def png(frame):
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG")
    return stream.getvalue()


def transitions(lengths, ends):
    """Records by transition of games of these lengths, their frames and their ends (terminated)."""
    examples, seen = [], []
    for number, (length, terminated) in enumerate(zip(lengths, ends, strict=True)):
        made = frames(length + 1, seed=number)
        stack = [png(np.zeros((84, 84), np.uint8))] * 3 + [png(frame) for frame in made]
        seen.append(made)
        for t in range(length):
            examples.append(
                {
                    "o_t": stack[t : t + 4], "o_tp1": stack[t + 1 : t + 5],
                    "a_t": [t % 4], "a_tp1": [(t + 1) % 4], "r_t": [float(t % 3 - 1)],
                    "d_t": [0.0 if terminated and t == length - 1 else 1.0],
                    "episode_id": [number], "episode_return": [1.0],
                }
            )  # fmt: skip
    return examples, seen


def episodes(lengths, ends):
    """Records by episode: as many frames as actions, the last frame that of the end."""
    examples, seen = [], []
    for number, (length, terminated) in enumerate(zip(lengths, ends, strict=True)):
        made = frames(length, seed=number)
        seen.append(made)
        discounts = [1.0] * (length - 1) + [0.0 if terminated else 1.0]
        examples.append(
            {
                "checkpoint_idx": [3], "episode_idx": [number], "episode_return": [2.0],
                "clipped_episode_return": [1.0], "observations": [png(frame) for frame in made],
                "actions": [t % 4 for t in range(length)], "discounts": discounts,
                "unclipped_rewards": [float(10 * t) for t in range(length)],
                "clipped_rewards": [float(min(t, 1)) for t in range(length)],
            }
        )  # fmt: skip
    return examples, seen
