"""The native module, refused where it was built from other sources than this package."""

from __future__ import annotations

from types import ModuleType

from gatewright import _kernels as _kernels
from gatewright.errors import GatewrightError

#: What the bindings take and give, by number: that of `kInterface` in native/python/bindings.cpp.
INTERFACE = 17


def require_interface(module: ModuleType) -> None:
    """Refuse a native module with another interface: it would ignore arguments that it does not know.

    Raises:
        GatewrightError: names both numbers and the remedy.
    """
    built = getattr(module, "interface", None)
    if built != INTERFACE:
        got = "one without a number" if built is None else f"interface {built}"
        remedy = "build it again: pip install --force-reinstall gatewright, or in a checkout: pip install -e ."
        raise GatewrightError(f"native module {module.__file__}", f"interface {INTERFACE}", f"{got}; {remedy}")


require_interface(_kernels)
