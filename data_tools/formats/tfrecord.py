"""TFRecord files and the ``tf.train.Example`` messages in them, read without TensorFlow.

A record is its length (uint64), the length's checksum, the bytes, and their checksum; numbers are
little-endian and checksums masked CRC-32C (TensorFlow, tfrecord_writer and RFC 3720, B.4). The
messages are protocol buffers, of which only the wire format is needed.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numba
import numpy as np
import numpy.typing as npt

from data_tools.flat_layout import DatasetError

LARGEST_RECORD = 2**30
POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
Feature = list[bytes] | npt.NDArray[np.float32] | npt.NDArray[np.int64]


def _table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _table()


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _crc(content: npt.NDArray[np.uint8], table: npt.NDArray[np.uint32]) -> int:
    crc = np.uint32(0xFFFFFFFF)
    for byte in content:
        crc = table[(crc ^ byte) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return int(crc ^ np.uint32(0xFFFFFFFF))


def masked_crc(content: bytes) -> int:
    """The checksum that stands in the file."""
    crc = int(_crc(np.frombuffer(content, np.uint8), _TABLE))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def open_compressed(path: Path) -> IO[bytes]:
    """Open a file that may be compressed with gzip."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    opened: Any = gzip.open(path, "rb") if compressed else open(path, "rb")
    return opened  # type: ignore[no-any-return]


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, each checked.

    Raises:
        DatasetError: A record is damaged, cut short or absurdly large, or this is no such file.
    """
    with open_compressed(path) as file:
        number = 0
        while True:
            where = f"{path}: record {number}"
            try:
                header = file.read(12)
                if not header:
                    return
                content = _record(file, header, where)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DatasetError(
                    f"{where}: {error}. The file is damaged; load it anew."
                ) from None
            yield content
            number += 1


def _record(file: IO[bytes], header: bytes, where: str) -> bytes:
    if len(header) < 12:
        raise DatasetError(f"{where} is cut short. Load the file anew.")
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        raise DatasetError(
            f"{where}: the length's checksum is wrong. This is no TFRecord file, or a damaged one."
        )
    if length > LARGEST_RECORD:
        raise DatasetError(f"{where} claims {length} bytes. Expected at most {LARGEST_RECORD}.")
    content = file.read(length + 4)
    if len(content) < length + 4:
        raise DatasetError(f"{where} is cut short. Load the file anew.")
    content, tail = content[:length], content[length:]
    if masked_crc(content) != struct.unpack("<I", tail)[0]:
        raise DatasetError(f"{where}: the checksum is wrong. The file is damaged; load it anew.")
    return content


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(message) or shift > 63:
            raise ValueError("a number without an end")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place


def _fields(message: memoryview) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value): an int, or the bytes of types 1, 2 and 5."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield tag >> 3, kind, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"wire type {kind}")
        if kind == 2:
            size, place = _varint(message, place)
        else:
            size = 8 if kind == 1 else 4
        if place + size > len(message):
            raise ValueError("a field beyond the end")
        yield tag >> 3, kind, message[place : place + size]
        place += size


def parse_example(content: bytes, where: str) -> dict[str, Feature]:
    """The features of a ``tf.train.Example``: name -> list of bytes, float32 or int64 array.

    Raises:
        DatasetError: It is no such message.
    """
    found: dict[str, Feature] = {}
    try:
        for number, kind, features in _fields(memoryview(content)):
            if (number, kind) != (1, 2):
                continue
            for inner, _, entry in _fields(features):
                if inner != 1:
                    continue
                parts = {field: value for field, _, value in _fields(entry)}
                found[bytes(parts[1]).decode()] = _feature(parts.get(2, memoryview(b"")))
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{where} is no tf.train.Example: {error}.") from None
    return found


def _feature(message: memoryview) -> Feature:
    for number, _, values in _fields(message):
        if number == 1:
            return [bytes(value) for _, _, value in _fields(values)]
        if number == 2:  # packed, or one field a number
            parts = [bytes(value) for _, _, value in _fields(values)]
            return np.frombuffer(b"".join(parts), "<f4").astype(np.float32)
        if number == 3:
            return np.array(_integers(values), np.uint64).astype(np.int64)
    return []


def _integers(message: memoryview) -> list[int]:
    found: list[int] = []
    for _, kind, value in _fields(message):
        if kind == 0:
            found.append(value)
            continue
        place = 0
        while place < len(value):
            number, place = _varint(value, place)
            found.append(number)
    return found
