"""A plugin for pytest: Gatewright's layers as with a release of torch that has none of its private names."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import gatewright

_path = Path(gatewright.__file__).parent / "nn" / "_torch_private.py"
_spec = importlib.util.spec_from_file_location("gatewright.nn._torch_private", _path)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_module.__name__] = _module  # before gatewright.nn is imported
_spec.loader.exec_module(_module)
for _name in _module.NAMES:
    assert getattr(_module, _name) is not None, _name
    setattr(_module, _name, None)
