"""Places that are written: a file whose disk may fill up, a folder that appears whole or not."""

from __future__ import annotations

import io
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_tools.command_line import TERMINATIONS
from data_tools.files import replacing
from data_tools.flat_layout import DatasetError
from data_tools.shard_folder import without_older_shards
from data_tools.target_file import refuse_read_only


class Spillway(io.RawIOBase):
    """A file for HDF5 to write to that never fails it.

    HDF5 cannot handle a write that fails: it may crash the process at exit. So the first error is
    kept, later writes are swallowed, and `check` raises it where Python can deal with it. Use it
    inside `deferred_interrupts`.

    Args:
        path: The file, made anew.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "w+b", buffering=0)
        self._error: OSError | None = None

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The current position."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end."""
        return self._file.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Set the length."""
        length = self._file.tell() if size is None else size
        try:
            self._file.truncate(length)
        except OSError as error:
            self._error = self._error or error
        return length

    def readinto(self, target: Any) -> int:
        """Fill the target; what could not be written reads as zeros."""
        count = self._file.readinto(target) or 0
        if self._error is not None and count < len(target):
            target[count:] = bytes(len(target) - count)
            count = len(target)
        return count

    def write(self, content: Any) -> int:
        """Write, or after an error pretend to."""
        view = memoryview(content).cast("B")
        length = len(view)
        while len(view) and self._error is None:
            try:
                view = view[self._file.write(view) :]
            except OSError as error:
                self._error = error
        return length

    def check(self) -> None:
        """Raise what a write ran into."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Keep Ctrl-C and SIGTERM waiting while HDF5 calls a `Spillway`.

    An exception that a signal's handler raises inside such a call passes through HDF5's own code,
    which crashes.

    Yields:
        What the loop calls where an interrupt may come: it runs the handler of one that waits.
    """
    waiting: list[int] = []
    previous: dict[int, Callable[[int, Any], Any]] = {}

    def check() -> None:
        if waiting:
            number = waiting.pop()
            waiting.clear()
            previous[number](number, None)

    if threading.current_thread() is threading.main_thread():
        for caught in (signal.SIGINT, *TERMINATIONS):
            handler = signal.getsignal(caught)
            if callable(handler):
                previous[caught] = handler
                signal.signal(caught, lambda number, frame: waiting.append(number))
    try:
        yield check
        check()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def check_place(path: Path, overwrite: bool, size: int = 0) -> None:
    """Check, before work starts, that a target may be written.

    Raises:
        DatasetError: It exists, it has no folder, or the disk is too small for `size` bytes.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise DatasetError(f"{path}: there is no folder {folder}. Make it first.")
    refuse_read_only(path)
    if path.exists() and not overwrite:
        raise DatasetError(
            f"{path} exists. Choose another name, or pass --overwrite to replace it."
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DatasetError(
            f"{path}: up to {size / 2**20:,.0f} MiB are needed and {folder} has "
            f"{free / 2**20:,.0f} MiB free. Make room, or choose another folder."
        )


@contextmanager
def appearing(path: Path, *, folder: bool) -> Iterator[Path]:
    """A temporary file, or an empty folder, that takes the place of `path` when the block ends.

    After an error, or Ctrl-C, it is removed and `path` is as it was.

    Raises:
        DatasetError: `path` is a folder where a file is written, or the other way round.
    """
    if path.exists() and path.is_dir() != folder:
        kind = "a file" if folder else "a folder"
        raise DatasetError(f"{path} is {kind}, which is not overwritten. Choose another name.")
    if not folder:
        with without_older_shards(path), replacing(path) as temporary:
            yield temporary
        return
    holder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        made = holder / "new"
        made.mkdir()
        yield made
        if path.exists():
            os.replace(path, holder / "old")
            try:
                os.replace(made, path)
            except BaseException:
                os.replace(holder / "old", path)
                raise
        else:
            os.replace(made, path)
    finally:
        shutil.rmtree(holder, ignore_errors=True)
