"""``--compile``: the networks of an algorithm through ``torch.compile``.

On the CPU it does not pay, so that it is off there unless asked for. Milliseconds of CPU time a
gradient step on one thread, torch 2.13, as measured for ``benchmarks/training_cases.py``:

    observation, hidden layers, batch   266, [256, 256], 256    16, [64, 64], 64
                                        plain    compiled       plain   compiled
    TD3+BC                                8.2         8.7        0.82       1.08
    discrete CQL                         12.4        13.0        1.42       1.56
    CQL                                  84.9       134.1        3.89       7.55
    IQL                                  11.9        12.5        1.19       1.65

Compiling whole losses (targets, sampled actions) in place of networks gained nothing either: 95.6
for CQL, 9.9 for TD3+BC at the larger size. Most of a step is matrix products, which are the same
library's either way, and the entry into compiled code costs more than the few fused operations
save; the temporaries that did cost much are gone from the losses (see `quantile_loss`).
"""

from __future__ import annotations

import copy
import os
import shutil
import sys
from typing import Any

import torch
from torch import nn

# What many actions in one observation are valued with, beside a network's forward.
METHODS = ("read", "value")
# Batches are all alike, so that shapes are constants; and a seed draws the same numbers as without.
OPTIONS: dict[str, Any] = {"dynamic": False, "options": {"fallback_random": True}}


def find_compiler(device: str) -> str | None:
    """The compiler that torch would call for networks on `device`, None where there is none.

    For the CPU that is C++, ``CXX`` or the system's; on a GPU Triton wants C, ``CC`` or one of two.
    """
    if device.startswith("cuda"):
        names = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    else:
        names = [os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")]
    return next((found for name in names if (found := shutil.which(name))), None)


def decide(asked: int | None, device: str) -> int:
    """Whether to compile: as asked, or by default on a GPU where a compiler is found.

    Args:
        asked: 1, 0 or, for the default, None.
        device: Where the networks are to live.

    Raises:
        ValueError: It was asked for, and there is no compiler.
    """
    wanted = device.startswith("cuda") if asked is None else bool(asked)
    if not wanted or find_compiler(device):
        return int(wanted)
    missing = "no C++ compiler (g++, or what CXX names) was found"
    if device.startswith("cuda"):
        missing = "no C compiler (gcc, clang, or what CC names) was found"
    if asked:
        raise ValueError(f"--compile 1: {missing}. Install one, or pass --compile 0.")
    print(f"{missing}: networks are not compiled")
    return 0


def compile_networks(algorithm: nn.Module) -> int:
    """Have an algorithm ask compiled twins of its networks, which share everything with them.

    A twin has the same parameters, buffers and names, so that optimisers, target networks,
    checkpoints and the states of interrupted runs know no difference. Actors keep the networks
    themselves: what is validated, saved and exported is not compiled, whatever its batch size.

    Args:
        algorithm: Already on its device.

    Returns:
        How many networks were compiled.
    """
    twins: dict[nn.Module, nn.Module] = {}
    for parent in list(algorithm.modules()):
        if not _is_network(parent):
            for name, child in list(parent.named_children()):
                if _is_network(child):
                    setattr(parent, name, _twin(child, twins))
    return len(twins)


def _is_network(module: nn.Module) -> bool:
    """Whether it is one of this package's networks: they know the arguments that rebuild them."""
    return hasattr(module, "arguments")


def _twin(network: nn.Module, twins: dict[nn.Module, nn.Module]) -> nn.Module:
    if network not in twins:
        made: Any = copy.copy(network)
        # networks inside are called by their methods as well; a list of the twin's own for them
        made.__dict__["_modules"] = {
            name: _twin(child, twins) if _is_network(child) else child
            for name, child in network.named_children()
        }
        made.compile(**OPTIONS)
        for name in METHODS:
            if hasattr(made, name):
                setattr(made, name, torch.compile(getattr(made, name), **OPTIONS))
        twins[network] = made
    return twins[network]
