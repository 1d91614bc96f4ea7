"""Jobs for the tests of the engine: they run in processes of their own."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from data_tools.files import replacing


@dataclass(frozen=True)
class Job:
    name: str
    folder: Path
    deaths: int = 0  # how often it is killed before it ends well
    code: int = 0

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return len(list(self.folder.glob(f"{self.name}.*")))


def work(job: Job) -> None:
    (job.folder / f"{job.name}.{job.attempts}").touch()
    if job.attempts <= job.deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.code:
        sys.exit(job.code)


def hang(job: Job) -> None:
    """Hold a lock, half of the result written, for longer than any test lasts."""
    # the lock is let go last, so that who sees it free finds all of the rest done
    with open(job.folder / "lock", "w") as lock, replacing(job.folder / "result.json") as temporary:
        temporary.write_text("half")
        fcntl.flock(lock, fcntl.LOCK_EX)
        (job.folder / "hangs").touch()
        time.sleep(600)
