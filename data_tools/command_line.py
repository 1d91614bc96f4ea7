"""What the command lines share: flag spelling, one-line errors and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from data_tools import early_interrupts

BAD_INPUT = 2
INTERRUPTED = 130
# A full disk, a used-up quota, a file larger than is allowed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A file or a folder that may not be read or written.
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
TERMINATIONS = early_interrupts.TERMINATIONS


class CommandLineError(ValueError):
    """Flags that cannot be read, or that contradict each other."""


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose flags are hyphenated, with underscores accepted as a synonym.

    Abbreviated flags are refused, since ``--env`` would otherwise be a prefix of others, and a bad
    command line raises `CommandLineError` instead of printing the whole usage.
    """

    def __init__(self, **arguments: Any) -> None:
        arguments.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **arguments)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse after spelling every flag with hyphens; a flag's value is left as it is."""
        given = sys.argv[1:] if args is None else args
        return super().parse_known_args([_hyphenate(token) for token in given], namespace)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would have printed."""
        raise CommandLineError(f"{message}. See --help.")


def _hyphenate(token: str) -> str:
    if not token.startswith("--"):
        return token
    flag, equals, value = token.partition("=")
    return flag.replace("_", "-") + equals + value


def run(
    command: Callable[[], None],
    expected: tuple[type[Exception], ...] = (ValueError,),
    interrupted: str = "interrupted.",
) -> int:
    """Run a command and turn its outcome into an exit code.

    Args:
        command: The work; it raises on bad input.
        expected: Exceptions that speak for themselves. Any other is a defect and keeps its
            traceback.
        interrupted: What to say after Ctrl-C, where the exception itself does not.

    Returns:
        0, or 2 after ``error: ...`` on stderr for bad input, a full disk or a place that may not be
        read or written, or 130 after Ctrl-C.
    """
    try:
        command()
        sys.stdout.flush()
    except expected as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        print(str(stop) or interrupted, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (`| head`) has left; what it asked for was delivered. Python
        # would complain when it flushes at exit, so that goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in (*NO_ROOM, *FORBIDDEN):
            raise
        remedy = "Free some space and run again."
        if error.errno in FORBIDDEN:
            remedy = "Change its permissions, or choose another place."
        place = error.filename or "writing"
        print(f"error: {place}: {error.strerror}. {remedy}", file=sys.stderr)
        return BAD_INPUT
    return 0


@contextmanager
def sure_interrupts() -> Iterator[Callable[[], None]]:
    """Make Ctrl-C and SIGTERM certain inside a loop over compiled code.

    While Numba looks at the arguments of a compiled function it discards any exception, also one
    that a signal's handler raises just then, and the loop would run on as if nothing had happened.
    The check that is yielded runs that handler again; so does leaving the block by an error.

    Yields:
        What the loop calls once a step.
    """
    received: list[tuple[Callable[[int, Any], Any], int]] = []
    previous: dict[int, Callable[[int, Any], Any]] = {}

    def remember(number: int, frame: Any) -> None:
        received.append((previous[number], number))
        previous[number](number, frame)

    def check() -> None:
        for handler, number in received:
            handler(number, None)

    if threading.current_thread() is threading.main_thread():
        for caught in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(caught)
            if callable(handler):
                previous[caught] = handler
                signal.signal(caught, remember)
    try:
        yield check
    except Exception:
        check()  # what broke may be the discarded interrupt's doing
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def terminate_cleanly() -> None:
    """Let SIGTERM and SIGHUP unwind the stack, so that temporary files go as after Ctrl-C."""
    early_interrupts.remove()

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in TERMINATIONS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, leave)
