"""NumPy, imported when something of it is first used: an agent that proves its GPUs by CUDA needs none."""

from importlib import import_module
from typing import TYPE_CHECKING, Any


class _NumPy:
    """Stands for the module; each name is looked up once."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module("numpy"), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import numpy as np
else:
    np = _NumPy()
