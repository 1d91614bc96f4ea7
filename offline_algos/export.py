"""Export a trained policy to ONNX or TorchScript: raw observations in, actions out.

The normaliser is inside, in float64 as in training, so that whoever runs the file needs neither
this package nor the statistics of the data:

    python -m offline_algos.export policy.pth --onnx policy.onnx --torchscript policy.pt

    onnxruntime.InferenceSession("policy.onnx").run(None, {"observations": observations})[0]

Observations are float32 (n, D), for any n, of images the pixels, 0 to 255; actions are int64 (n,),
or float32 (n, A) of the environment's box. A Decision Transformer remembers its episode and a file
cannot: it takes the last K timesteps, padded on the left, as "observations" (n, K, D), "actions",
"returns_to_go", "timesteps" and "mask" (n, K), and gives "action" (n,); `stateless` says more, and
docs/methods/dt.md has the loop. K and the return to ask for are in the file's "about".

What is written was loaded again before and gave the policy's own actions.
"""

from __future__ import annotations

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
from offline_algos.checkpoint import TrainedPolicy, checkpoint_file, load_policy
from offline_algos.stateless import Stateless, stateless

SAME = "it acts as the policy does"
INSTALL = "python -m pip install 'gym-trade[export]'"
# What goes into the file beside the network, of what the checkpoint knows.
ABOUT = ("method", "task", "layout", "action_space")
# Random observations that a file is checked with, and how many of their numbers at most.
CHECKED_ROWS, CHECKED_NUMBERS = 1024, 4_000_000
# Another runtime adds in another order: two actions of nearly one value may change places.
TOLERANCE, TIED_ROWS = 1e-4, 0.01

Arrays = dict[str, npt.NDArray[np.generic]]
Run = Callable[[Arrays], npt.NDArray[np.generic]]


class ExportError(ValueError):
    """A policy that cannot be exported, or a file that cannot be written."""


def export_onnx(policy: TrainedPolicy, path: str | os.PathLike[str]) -> bool:
    """Write a policy as an ONNX model, whole or not at all.

    Its inputs and its output are called as in `stateless`. Method, task, layout and action space
    are JSON in its metadata, as "about".

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
    module = _exportable(policy)
    examples, rows = module.examples(2), torch.export.Dim("n")
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(examples.values()),
            dynamo=True,
            input_names=list(examples),
            output_names=[module.output],
            dynamic_shapes=tuple({0: rows} for _ in examples),
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props["about"] = _about(policy, module)
        content = program.model_proto.SerializeToString()
    checked = importlib.util.find_spec("onnxruntime") is not None
    if checked:
        _check(module, _onnx_run(content), path)
    _write(path, content)
    return checked


def _onnx_run(content: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def export_torchscript(policy: TrainedPolicy, path: str | os.PathLike[str]) -> None:
    """Write a policy as TorchScript, for the CPU, whole or not at all.

    ``torch.jit.load(path)``, or its like in C++, takes the inputs that `stateless` says, in its
    order. Method, task, layout and action space are its extra file "about.json".

    Args:
        policy: What `load_policy` returns.
        path: The file; an older one is replaced.

    Raises:
        ExportError: The policy cannot be exported, the file cannot be written, or it gives other
            actions.
    """
    module, made = _exportable(policy), io.BytesIO()

    def run(inputs: Arrays) -> npt.NDArray[np.generic]:
        actions: torch.Tensor = loaded(*map(torch.as_tensor, inputs.values()))
        return actions.numpy()

    with _quiet(), torch.no_grad():
        traced = torch.jit.trace(module, tuple(module.examples(2).values()), check_trace=False)
        torch.jit.save(traced, made, _extra_files={"about.json": _about(policy, module)})
        made.seek(0)
        loaded = torch.jit.load(made)
        _check(module, run, path)
    _write(path, made.getvalue())


def _exportable(policy: TrainedPolicy) -> Stateless:
    """A copy of the actor on the CPU.

    Raises:
        ExportError: It remembers an episode, which a file cannot, or its weights are not finite.
    """
    actor = policy.actor
    module = stateless(actor)
    if module is None:
        raise ExportError(
            f"a policy of the kind {actor.kind!r} remembers its episode, and an exported file maps "
            "one observation to one action. Run it with offline_algos.checkpoint.load_policy."
        )
    if not all(bool(torch.isfinite(values).all()) for values in actor.parameters()):
        raise ExportError("the policy has weights that are not finite: its training has diverged.")
    return module


def _about(policy: TrainedPolicy, module: Stateless) -> str:
    known = {key: policy.about[key] for key in ABOUT if key in policy.about}
    return json.dumps(known | module.facts())


def _check(module: Stateless, run: Run, path: str | os.PathLike[str]) -> None:
    """Refuse a file that acts otherwise than the policy, for batches of several sizes."""
    numbers = module.examples(1)["observations"].numel()
    examples = module.examples(min(CHECKED_ROWS, max(CHECKED_NUMBERS // numbers, 8)))
    with torch.no_grad():
        expected = module(*examples.values()).numpy()
    batches = zip(*(np.split(values.numpy(), (1, 4)) for values in examples.values()), strict=True)
    actions = np.concatenate([run(dict(zip(examples, part, strict=True))) for part in batches])
    if actions.shape != expected.shape or actions.dtype != expected.dtype:
        raise ExportError(
            f"{path} is not written: its actions are {actions.dtype} {actions.shape}, the "
            f"policy's {expected.dtype} {expected.shape}."
        )
    close = np.isclose(actions, expected, TOLERANCE, TOLERANCE * np.abs(expected).max())
    differing = int((~close.reshape(len(close), -1).all(1)).sum())
    if differing > TIED_ROWS * len(close):
        raise ExportError(
            f"{path} is not written: for {differing} of {len(close)} random {module.noun} its "
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
    parser.add_argument(
        "checkpoint", type=Path, help="policy.pth or last.pth of a training run, or its directory"
    )
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help=f"the ONNX model; needs {INSTALL}"
    )
    parser.add_argument("--torchscript", type=Path, metavar="FILE", help="the TorchScript")

    def command() -> None:
        flags = parser.parse_args(argv)
        targets = [path for path in (flags.onnx, flags.torchscript) if path is not None]
        if not targets:
            parser.error("nothing to write: pass --onnx FILE, --torchscript FILE or both")
        source = checkpoint_file(flags.checkpoint)
        if len({path.resolve() for path in (source, *targets)}) <= len(targets):
            parser.error("the checkpoint and what is made of it need different names")
        policy = load_policy(source)
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
