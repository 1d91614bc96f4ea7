"""What a job of the scores benchmark prints goes into a file, and why it failed."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def logged(log: Path, result: Path) -> Iterator[None]:
    """Send what is printed meanwhile into a log.

    Args:
        log: The file; its folder is made.
        result: What the job will write; its folder is made.

    Raises:
        SystemExit: With 1 after a failure, which the log tells.
    """
    for path in (log, result):
        path.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "w", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            print(f"error: {error}")
            sys.exit(1)
