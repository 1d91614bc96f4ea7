"""The way into every training script: to train, or to use a checkpoint that training wrote."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_tools import command_line
from data_tools.command_line import ArgumentParser, CommandLineError
from offline_algos.arguments import number, whole
from offline_algos.showing import WINDOW

# What belongs to --watch, with the value that it has where it was not given.
OF_WATCH = ("eps_test", "buffer_size", "save_buffer_name", "overwrite", "render")
# What a checkpoint is used with: always, where it is judged, and in each way of using it. Flags
# that `_check_mode` or `recording` have a message of their own for are here as well.
ALWAYS = ("resume_path", "eval_only", "watch", "resume", "task", "seed", "device", "threads",
          "env", "env_config", "target_return", *OF_WATCH)  # fmt: skip
JUDGED = ("test_market", "test_start", "test_end", "allow_overlap", "num_test_envs")
USED = {
    "--eval-only": (*ALWAYS, *JUDGED, "logdir"),
    "--watch": (*ALWAYS, *JUDGED),
    "--save-buffer-name": (*ALWAYS, "test_market", "test_start", "test_end"),
}


def run_script(
    make_parser: Callable[[], ArgumentParser],
    train: Callable[[argparse.Namespace], Any],
    argv: Sequence[str] | None = None,
) -> int:
    """Run a script from the command line.

    Args:
        make_parser: Its flags for training; those for a checkpoint are added.
        train: Trains with them. The script's file name says its method and its kind of actions.
        argv: The command line; None: that of the process.

    Returns:
        The exit code, see `command_line.run`.
    """
    return command_line.run(lambda: _dispatch(make_parser(), train, argv))


def _dispatch(
    parser: ArgumentParser,
    train: Callable[[argparse.Namespace], Any],
    argv: Sequence[str] | None,
) -> None:
    own = _add_flags(parser)
    mode_parser = ArgumentParser(add_help=False)
    _add_flags(mode_parser)
    mode, _ = mode_parser.parse_known_args(argv)
    if not (mode.watch or mode.eval_only):
        _refuse_stray(mode, own)
        args = parser.parse_args(argv)
        for name in own:  # a run remembers the flags of training only
            delattr(args, name)
        train(args)
        return
    for given in (*parser._actions, *parser._mutually_exclusive_groups):
        given.required = False  # no data is needed where nothing is trained
    given_flags = _given(parser, argv)
    # None where it is not given: then a checkpoint says what it was, and a script's own default
    # for a flag of this module has no part in it
    args = parser.parse_args(argv, argparse.Namespace(num_test_envs=None, task=None))
    vars(args).update(vars(mode))
    _check_mode(args)
    _refuse_unused(args, given_flags)
    from offline_algos import watching

    watching.use_checkpoint(args, Path(train.__code__.co_filename).stem)


def _add_flags(parser: ArgumentParser) -> list[str]:
    """Add the flags for a checkpoint, but for those that a script has itself; return theirs."""
    group = parser.add_argument_group(
        "using a checkpoint",
        "Nothing is trained and no dataset is needed.",
    )
    added: list[str] = []

    def add(flag: str, **more: Any) -> None:
        if flag not in parser._option_string_actions:
            added.append(group.add_argument(flag, **more).dest)

    add(
        "--resume-path",
        metavar="FILE",
        help="the checkpoint, policy.pth or last.pth, or the directory of a run: its policy.pth",
    )
    add(
        "--eval-only",
        action="store_true",
        help="test the checkpoint again, with the baselines, on its test period or on what "
        "--test-market, --test-start, --test-end and --env say",
    )
    add(
        "--watch",
        action="store_true",
        help="let the checkpoint act on the test period, or for --num-test-envs episodes",
    )
    add(
        "--render",
        nargs="?",
        const=WINDOW,
        metavar="PICTURE",
        help="with --watch: show it in a window, or draw it into a file, .png of a market, .gif of "
        "another task's first episode",
    )
    add(
        "--eps-test",
        type=number(0.0, 1.0),
        metavar="P",
        help="with --watch: probability that an action is replaced by a random one (default 0)",
    )
    add(
        "--save-buffer-name",
        metavar="FILE",
        help="with --watch: record a dataset of the policy instead, on the dates that it was "
        "trained on",
    )
    add(
        "--buffer-size",
        type=whole(1),
        metavar="N",
        help="transitions to record, exactly (default 100000)",
    )
    add("--overwrite", action="store_true", help="replace an existing dataset")  # fmt: skip
    return added


def _given(parser: ArgumentParser, argv: Sequence[str] | None) -> dict[str, str]:
    """The flags that a command line has: their names in parsed arguments, and their spelling."""
    spelled = {action.dest: action.option_strings[-1] for action in parser._actions}
    # argparse leaves alone what a namespace has, so None stays where no flag is given
    args = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(spelled)))
    return {name: flag for name, flag in spelled.items() if getattr(args, name, None) is not None}


def _refuse_unused(args: argparse.Namespace, given: dict[str, str]) -> None:
    """Refuse flags that say how to train, where a checkpoint is used: they would do nothing.

    Raises:
        CommandLineError: Some were given.
    """
    mode = "--watch" if args.watch else "--eval-only"
    if args.save_buffer_name is not None:
        mode = "--save-buffer-name"
    unused = [flag for name, flag in given.items() if name not in USED[mode]]
    if unused:
        one = len(unused) == 1
        raise CommandLineError(
            f"{', '.join(unused)}: {mode} uses a checkpoint as it was trained, and "
            f"{'this flag has' if one else 'these flags have'} no part in that. Leave "
            f"{'it' if one else 'them'} out"
        )


def _spelled(name: str) -> str:
    return "--" + name.replace("_", "-")


def _refuse_stray(args: argparse.Namespace, own: Sequence[str]) -> None:
    """Refuse flags for a checkpoint where a script is to train.

    Raises:
        CommandLineError: One was given.
    """
    if args.resume_path is not None:
        raise CommandLineError(
            "--resume-path needs --watch or --eval-only, which use a checkpoint. To go on with an "
            "interrupted run give --resume and the flags that it began with"
        )
    for name in OF_WATCH:
        if name in own and getattr(args, name) not in (None, False):
            raise CommandLineError(f"{_spelled(name)} needs --watch and --resume-path FILE")


def _check_mode(args: argparse.Namespace) -> None:
    """Refuse flags that contradict each other.

    Raises:
        CommandLineError: Some do.
    """
    mode = "--watch" if args.watch else "--eval-only"
    if args.resume_path is None:
        raise CommandLineError(f"{mode} needs --resume-path FILE, a policy.pth of an earlier run")
    given = [name for name in OF_WATCH if getattr(args, name) not in (None, False)]
    rules = (
        (args.watch and args.eval_only, "--watch and --eval-only: give one of them"),
        (args.resume, f"{mode} and --resume: the one trains nothing, the other goes on training"),
        (args.eval_only and given, f"{_spelled((given or [''])[0])} belongs to --watch"),
        (
            args.save_buffer_name is not None and args.render is not None,
            "--render and --save-buffer-name: what is recorded is not shown. Give one of them",
        ),
    )
    for wrong, message in rules:
        if wrong:
            raise CommandLineError(message)
    if args.save_buffer_name is None:
        for name in ("buffer_size", "overwrite"):
            if name in given:
                raise CommandLineError(f"{_spelled(name)} belongs to --save-buffer-name FILE")
