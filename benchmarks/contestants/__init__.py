"""The libraries compared, one module each; a module that is not installed is left out with a clear line."""

from __future__ import annotations

import importlib
from types import ModuleType

NAMES = ("engine", "bergson", "dattri", "logix", "kronfluence", "vmap")


def load(names: tuple[str, ...] | None = None) -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The adapters that can be imported, of some or all, and why each of the others cannot."""
    found, missing = {}, {}
    for name in NAMES if names is None else names:
        try:
            found[name] = importlib.import_module(f"benchmarks.contestants.{name}")
        except ImportError as error:
            missing[name] = str(error)
    return found, missing
