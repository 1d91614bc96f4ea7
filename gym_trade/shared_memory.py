"""Arrays that several processes on one machine map instead of copying.

`publish` writes arrays once into a file in shared memory (or, without it, in the temporary
directory) and returns a small handle that can be pickled; `attach` maps that file read-only. The
publishing process removes the file when it exits; processes that have mapped it keep it alive.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64
SHARED_DIRECTORY = "/dev/shm"


@dataclass(frozen=True)
class Handle:
    """Where published arrays lie: a path and, by name, (dtype, shape, offset in bytes)."""

    path: str
    entries: tuple[tuple[str, str, tuple[int, ...], int], ...]


def _directory(size: int) -> str:
    """Shared memory where it is writable and has twice the room, else the temporary directory."""
    if os.path.isdir(SHARED_DIRECTORY) and os.access(SHARED_DIRECTORY, os.W_OK):
        if shutil.disk_usage(SHARED_DIRECTORY).free > 2 * size:
            return SHARED_DIRECTORY
    return tempfile.gettempdir()


def _remove(path: str, owner: int) -> None:
    # A forked child inherits the finaliser but does not own the file.
    if os.getpid() == owner and os.path.exists(path):
        os.unlink(path)


def publish(arrays: dict[str, npt.NDArray[Any]], owner: object) -> Handle:
    """Write `arrays` for other processes; the file goes when `owner` or this process does.

    Raises:
        OSError: No room, or the directory cannot be written.
    """
    entries, offset = [], 0
    for name, array in arrays.items():
        offset = -(-offset // ALIGNMENT) * ALIGNMENT
        entries.append((name, array.dtype.str, array.shape, offset))
        offset += array.nbytes
    descriptor, path = tempfile.mkstemp(prefix="gym_trade-", dir=_directory(offset))
    try:
        with os.fdopen(descriptor, "wb") as file:
            for (_, _, _, begin), array in zip(entries, arrays.values(), strict=True):
                file.seek(begin)
                file.write(np.ascontiguousarray(array).data)
            file.truncate(max(offset, 1))
    except BaseException:
        os.unlink(path)
        raise
    weakref.finalize(owner, _remove, path, os.getpid())
    return Handle(path, tuple(entries))


def attach(handle: Handle) -> dict[str, npt.NDArray[Any]]:
    """Map published arrays, read-only.

    Raises:
        FileNotFoundError: The process that published them is gone.
    """
    try:
        memory = np.memmap(handle.path, dtype=np.uint8, mode="r")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the shared memory {handle.path} is gone with the process that pickled this market. A "
            "pickled market is for other processes on the same machine while its maker lives; to "
            "keep one, save Market.to_frame()."
        ) from None
    arrays = {}
    for name, dtype, shape, begin in handle.entries:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = np.ndarray(shape, dtype=dtype, buffer=memory[begin : begin + size])
        array.flags.writeable = False
        arrays[name] = array
    return arrays
