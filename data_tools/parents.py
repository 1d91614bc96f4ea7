"""Worker processes that end when the process that began them is gone, however it went."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import connection

GRACE = 10.0  # seconds that a worker has to remove what it has not finished


def end_with_parent() -> None:
    """Let this worker of `multiprocessing` end as by SIGTERM once its parent is gone.

    A parent that is killed cannot end its workers, which would go on for hours and take the cores
    from the run that is begun in its place. `command_line.terminate_cleanly` first, so that the
    stack unwinds; what does not return to Python within `GRACE` is ended at once, and its
    temporary files stay. In a process that has no such parent nothing happens.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)
