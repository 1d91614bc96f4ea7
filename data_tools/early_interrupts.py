"""Ctrl-C in the seconds in which a command is still importing: one line, no traceback.

The packages of this repository and the training scripts import this before anything that takes
time. It does something only where one of their commands is what Python was started for, and until
`command_line.terminate_cleanly`: a program of the user's own that imports them is left alone.
"""

from __future__ import annotations

import os
import signal
import sys

PACKAGES = ("gym_trade", "data_tools", "offline_algos", "benchmarks")
# A closed terminal sends SIGHUP, where there is one.
TERMINATIONS = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGHUP") if hasattr(signal, n))


def leave(number: int, frame: object) -> None:
    """End the process at once: nothing was begun that would have to be put away.

    An exception would do no better: there are packages whose imports discard it.
    """
    if number == signal.SIGINT:
        os.write(2, b"interrupted.\n")
    os._exit(128 + number)


def install() -> None:
    """Handle Ctrl-C, SIGTERM and SIGHUP with `leave`, where they have no handler of the user's."""
    for number in (signal.SIGINT, *TERMINATIONS):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


def remove() -> None:
    """Undo `install`."""
    for number in (signal.SIGINT, *TERMINATIONS):
        if signal.getsignal(number) is leave:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


def is_command() -> bool:
    """Whether Python was started with ``-m`` and a module of ours, or with one of our files."""
    if sys.argv[:1] == ["-m"]:  # the packages around the module are being imported
        name = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else ""
        return name.partition(".")[0] in PACKAGES
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None:
        return False
    folder = os.path.dirname(os.path.realpath(file))
    root = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return folder in [os.path.join(root, package) for package in PACKAGES]


if is_command():
    install()
