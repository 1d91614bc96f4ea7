"""A large file written in place under a temporary name, and renamed when it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_tools.command_line import FORBIDDEN
from data_tools.flat_layout import DatasetError
from data_tools.shard_folder import without_older_shards


class TargetFile:
    """The temporary file beside a target, written at any offset.

    Args:
        path: The target.
        size: Transitions that it will hold, for messages.
        needed: The size of the finished file in bytes, rounded up.
        overwrite: Replace an existing target.
        check_room: Refuse what the disk has no room for.

    Raises:
        DatasetError: The target exists or has no folder, or the disk is too small.
    """

    def __init__(
        self, path: Path, size: int, needed: int, overwrite: bool, check_room: bool = True
    ) -> None:
        self.path, self._needed, self._overwrite = path, needed, overwrite
        self._file: Any = None  # io.FileIO once open
        self._check()
        if check_room:
            require_room(path, size, needed)
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")

    def open(self, length: int) -> None:
        """Create the temporary file, `length` bytes long.

        Raises:
            DatasetError: It cannot be written.
        """
        try:
            self._file = open(self._temporary, "w+b", buffering=0)
            self._file.truncate(length)
        except BaseException as error:  # an interrupt, too, must not leave the file
            self.discard()
            raise self.explain(error) if isinstance(error, OSError) else error from None

    def write_at(self, offset: int, rows: npt.NDArray[Any]) -> None:
        """Write a contiguous array's bytes; raises the operating system's error."""
        if rows.nbytes == 0:
            return
        self._file.seek(offset)
        view = rows.reshape(-1).view(np.uint8).data
        while len(view):
            view = view[self._file.write(view) :]

    def publish(self, length: int) -> None:
        """Set the length and rename the file to its target.

        Raises:
            DatasetError: The target has appeared meanwhile.
        """
        self._file.truncate(length)
        self._file.close()
        if not self._overwrite and self.path.exists():
            raise DatasetError(f"{self.path} has appeared meanwhile. Choose another name.")
        with without_older_shards(self.path):
            os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Remove what was not published."""
        if self._file is not None:
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def explain(self, error: OSError) -> DatasetError:
        """One clear error for what the operating system reports."""
        room = f"make room (it needs {_mebibytes(self._needed)}), or "
        remedy = f"{'' if error.errno in FORBIDDEN else room}choose another folder"
        return DatasetError(
            f"{self.path} cannot be written: {error.strerror or error}. Nothing was left behind; "
            f"{remedy}."
        )

    def _check(self) -> None:
        refuse_place(self.path)
        if self.path.exists() and not self._overwrite:
            raise DatasetError(
                f"{self.path} exists. Choose another name, or pass --overwrite to replace it."
            )


def refuse_place(path: Path) -> None:
    """Refuse a target that no file can be put at.

    Raises:
        DatasetError: It is a folder or a device, or its folder is missing or may not be written.
    """
    if not path.parent.is_dir():
        raise DatasetError(f"{path}: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise DatasetError(f"{path} is a folder. Expected a file name.")
    if path.exists() and not path.is_file():  # a pipe or a device would be replaced by a file
        raise DatasetError(f"{path} is no regular file. Expected a file name.")
    refuse_read_only(path)


def refuse_read_only(path: Path) -> None:
    """Refuse a target whose folder may not be written.

    Raises:
        DatasetError: It may not.
    """
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DatasetError(
            f"{path} cannot be written: its folder {path.parent} is read-only. Choose another "
            "folder."
        )


def require_room(path: Path, rows: int, needed: int) -> None:
    """Refuse what the disk has no room for.

    Raises:
        DatasetError: `rows` transitions need `needed` bytes, and fewer are free.
    """
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise DatasetError(
            f"{path}: {rows} transitions need {_mebibytes(needed)} and {path.parent} has "
            f"{_mebibytes(free)} free. Make room, or collect fewer."
        )


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
