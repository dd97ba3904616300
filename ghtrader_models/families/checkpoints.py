"""Writes Lightning's checkpoints as safetensors: tensors as they are, everything else as JSON in the header.

What belongs here: the form of the file. A kill leaves the checkpoint before or the new one, never a part.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import atomic_write_bytes

CHECKPOINT = "checkpoint.safetensors"
_STATE = "state"


class SafetensorsIO(CheckpointIO):
    """What Lightning saves and loads its state by."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the state in one step."""
        tensors: dict[str, torch.Tensor] = {}
        state = json.dumps(_plain(checkpoint, tensors))
        atomic_write_bytes(Path(path), save(tensors, {_STATE: state}))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read it back; `IntegrityError` where it is none."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
                state = json.loads(file.metadata()[_STATE])
        except Exception as exc:
            raise IntegrityError(f"the checkpoint {path} does not read: {exc}", "remove it and train anew") from exc
        found: dict[str, Any] = _whole(state, tensors)
        return found

    def remove_checkpoint(self, path: Any) -> None:
        """Remove the file."""
        os.unlink(path)


def _plain(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of a state; each tensor is put aside under a number."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"items": [[_plain(key, tensors), _plain(each, tensors)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_plain(each, tensors) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot keep a {type(value).__name__}")


def _whole(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """The inverse of `_plain`."""
    if isinstance(value, list):
        return [_whole(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "tensor":
        return tensors[held]
    if kind == "tuple":
        return tuple(_whole(each, tensors) for each in held)
    return {_whole(key, tensors): _whole(each, tensors) for key, each in held}
