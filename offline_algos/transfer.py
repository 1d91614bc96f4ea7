"""Batches on their way from the host's memory to where the networks are."""

from __future__ import annotations

from typing import Any

import torch


class Transfer:
    """Copies batches to a device.

    To a GPU they go through pinned memory and by a stream of its own, so that neither the CPU nor
    the step before waits for them.

    Args:
        device: Where to.
    """

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        cuda = self.device.type == "cuda"
        self._stream = torch.cuda.Stream(self.device) if cuda else None

    def start(self, batch: Any) -> Any:
        """Put copies into the place of a batch's tensors; what `finish` must be given."""
        members = batch.__dict__
        tensors = {name: x for name, x in members.items() if isinstance(x, torch.Tensor)}
        if self._stream is None:
            members.update({name: x.to(self.device) for name, x in tensors.items()})
            return None
        with torch.cuda.stream(self._stream):
            for name, values in tensors.items():
                members[name] = values.pin_memory().to(self.device, non_blocking=True)
            return self._stream.record_event()

    def finish(self, batch: Any, arrived: Any) -> None:
        """Let the current stream wait for a batch, before it is used."""
        if arrived is None:
            return
        current = torch.cuda.current_stream(self.device)
        current.wait_event(arrived)
        for values in batch.__dict__.values():
            if isinstance(values, torch.Tensor):
                values.record_stream(current)
