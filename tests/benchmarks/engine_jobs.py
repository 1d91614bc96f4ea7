"""Jobs for the tests of the engine: they run in processes of their own."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path


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
