"""A plugin for pytest: Gatewright's layers as with a release of torch that has none of its private names."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import gatewright


def pytest_configure() -> None:
    """Replace the module of private names before `gatewright.nn` is imported; importing this file does nothing."""
    assert "gatewright.nn" not in sys.modules
    path = Path(gatewright.__file__).parent / "nn" / "_torch_private.py"
    spec = importlib.util.spec_from_file_location("gatewright.nn._torch_private", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    for name in module.NAMES:
        assert getattr(module, name) is not None, name
        setattr(module, name, None)
