"""Processes that end when the one that began them is gone, however it went.

A parent that is killed cannot end its workers, which would go on for hours, and write where the run
that is begun in its place writes. Workers of `multiprocessing` call `end_with_parent`; a command is
begun as ``python -m data_tools.parents MODULE FLAGS`` with `lifeline` for its standard input.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
from multiprocessing import connection

GRACE = 10.0  # seconds that a process has to remove what it has not finished


def end_with_parent() -> None:
    """Let this worker of `multiprocessing` end as by SIGTERM once its parent is gone.

    `command_line.terminate_cleanly` first, so that the stack unwinds; what does not return to
    Python within `GRACE` is ended at once, and its temporary files stay. In a process that has no
    such parent nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_after(parent.sentinel)


@functools.cache
def lifeline() -> int:
    """The end to read of a pipe that nobody writes to, and that is closed with this process."""
    return os.pipe()[0]


def _end_after(sentinel: int) -> None:
    threading.Thread(target=_watch, args=(sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    _end_after(sys.stdin.fileno())
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
