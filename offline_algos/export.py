"""Export a trained policy to ONNX or TorchScript: raw observations in, actions out.

The normaliser is inside, in float64 as in training, so that whoever runs the file needs neither
this package nor the statistics of the data:

    python -m offline_algos.export policy.pth --onnx policy.onnx --torchscript policy.pt

    onnxruntime.InferenceSession("policy.onnx").run(None, {"observations": observations})[0]

Observations are float32 (n, D), for any n, of images the pixels, 0 to 255; actions are int64 (n,),
or float32 (n, A) of the environment's box. What is written was loaded again before and gave the
policy's own actions.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from data_tools import command_line
from data_tools.files import replacing
from offline_algos.actors import Actor
from offline_algos.checkpoint import TrainedPolicy, load_policy

SAME = "it acts as the policy does"
INSTALL = "python -m pip install 'gym-trade[export]'"
# What goes into the file beside the network, of what the checkpoint knows.
ABOUT = ("method", "task", "layout", "action_space")
# Random observations that a file is checked with, and how many of their numbers at most.
CHECKED_ROWS, CHECKED_NUMBERS = 1024, 4_000_000
# Another runtime adds in another order: two actions of nearly one value may change places.
TOLERANCE, TIED_ROWS = 1e-4, 0.01

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.generic]]


class ExportError(ValueError):
    """A policy that cannot be exported, or a file that cannot be written."""


def export_onnx(policy: TrainedPolicy, path: str | os.PathLike[str]) -> bool:
    """Write a policy as an ONNX model, whole or not at all.

    Its input is "observations", float32 (n, D), its output "actions". Method, task, layout and
    action space are JSON in its metadata, as "about".

    Args:
        policy: What `load_policy` returns.
        path: The file; an older one is replaced.

    Returns:
        Whether its actions were compared to the policy's: False where onnxruntime is missing.

    Raises:
        ExportError: A package is missing, the policy cannot be exported, the file cannot be
            written, or it gives other actions.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX files are made by {' and '.join(missing)}: {INSTALL}")
    actor = _exportable(policy)
    with _quiet():
        program = torch.onnx.export(
            actor,
            (_observations(actor, rows=2),),
            dynamo=True,
            input_names=["observations"],
            output_names=["actions"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props["about"] = _about(policy)
        content = program.model_proto.SerializeToString()
    checked = importlib.util.find_spec("onnxruntime") is not None
    if checked:
        _check(actor, _onnx_run(content), path)
    _write(path, content)
    return checked


def _onnx_run(content: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda observations: session.run(None, {"observations": observations})[0]


def export_torchscript(policy: TrainedPolicy, path: str | os.PathLike[str]) -> None:
    """Write a policy as TorchScript, for the CPU, whole or not at all.

    ``torch.jit.load(path)``, or its like in C++, takes observations and returns actions. Method,
    task, layout and action space are its extra file "about.json".

    Args:
        policy: What `load_policy` returns.
        path: The file; an older one is replaced.

    Raises:
        ExportError: The policy cannot be exported, the file cannot be written, or it gives other
            actions.
    """
    actor, made = _exportable(policy), io.BytesIO()
    with _quiet(), torch.no_grad():
        traced = torch.jit.trace(actor, _observations(actor, rows=2), check_trace=False)
        torch.jit.save(traced, made, _extra_files={"about.json": _about(policy)})
        made.seek(0)
        loaded = torch.jit.load(made)
        _check(actor, lambda observations: loaded(torch.as_tensor(observations)).numpy(), path)
    _write(path, made.getvalue())


def _exportable(policy: TrainedPolicy) -> Actor:
    """A copy of the actor on the CPU.

    Raises:
        ExportError: It remembers an episode, which a file cannot, or its weights are not finite.
    """
    actor = policy.actor
    if getattr(actor, "stateful", False) or type(actor).begin is not Actor.begin:
        raise ExportError(
            f"a policy of the kind {actor.kind!r} remembers its episode, and an exported file maps "
            "one observation to one action. Run it with offline_algos.checkpoint.load_policy."
        )
    if not all(bool(torch.isfinite(values).all()) for values in actor.parameters()):
        raise ExportError("the policy has weights that are not finite: its training has diverged.")
    return copy.deepcopy(actor).cpu().eval()


def _observations(actor: Actor, rows: int = CHECKED_ROWS) -> torch.Tensor:
    """Random observations around the normaliser's mean, float32 (rows or fewer, D)."""
    normaliser = actor.normaliser
    rows = min(rows, max(CHECKED_NUMBERS // normaliser.mean.numel(), 8))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, *normaliser.mean.shape, generator=generator)
    noise[::4] *= 10.0  # beyond the normaliser's limit as well
    return (normaliser.mean + normaliser.std * noise).float()


def _about(policy: TrainedPolicy) -> str:
    return json.dumps({key: policy.about[key] for key in ABOUT if key in policy.about})


def _check(actor: Actor, run: Run, path: str | os.PathLike[str]) -> None:
    """Refuse a file that acts otherwise than the actor, for batches of several sizes."""
    observations = _observations(actor)
    with torch.no_grad():
        expected = actor(observations).numpy()
    given = observations.numpy()
    actions = np.concatenate([run(part) for part in np.split(given, (1, 4))])
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        raise ExportError(
            f"{path} is not written: its actions are {actions.dtype} {actions.shape}, the "
            f"policy's {expected.dtype} {expected.shape}."
        )
    close = np.isclose(actions, expected, TOLERANCE, TOLERANCE * np.abs(expected).max())
    differing = int((~close.reshape(len(close), -1).all(1)).sum())
    if differing > TIED_ROWS * len(close):
        raise ExportError(
            f"{path} is not written: for {differing} of {len(close)} random observations its "
            "actions are not the policy's."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about its own exporters: `_check` says whether they have worked."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    try:
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno in command_line.NO_ROOM:
            raise  # the command line has words for it
        raise ExportError(f"{path} cannot be written: {error.strerror or error}.") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0, 2 for bad input, 130 after Ctrl-C.
    """
    parser = command_line.ArgumentParser(prog="python -m offline_algos.export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="policy.pth or last.pth of a training run")
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help=f"the ONNX model; needs {INSTALL}"
    )
    parser.add_argument("--torchscript", type=Path, metavar="FILE", help="the TorchScript")

    def command() -> None:
        flags = parser.parse_args(argv)
        targets = [path for path in (flags.onnx, flags.torchscript) if path is not None]
        if not targets:
            parser.error("nothing to write: pass --onnx FILE, --torchscript FILE or both")
        if len({path.resolve() for path in (flags.checkpoint, *targets)}) <= len(targets):
            parser.error("the checkpoint and what is made of it need different names")
        policy = load_policy(flags.checkpoint)
        if flags.onnx is not None:
            checked = export_onnx(policy, flags.onnx)
            unchecked = f"not checked, which needs onnxruntime: {INSTALL}"
            print(f"{flags.onnx} written, {SAME if checked else unchecked}")
        if flags.torchscript is not None:
            export_torchscript(policy, flags.torchscript)
            print(f"{flags.torchscript} written, {SAME}")

    return command_line.run(command)


if __name__ == "__main__":
    command_line.terminate_cleanly()
    sys.exit(main())
