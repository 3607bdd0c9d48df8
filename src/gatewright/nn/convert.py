"""Put Gatewright's layers in the place of torch's, or back, in a whole model at once."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from gatewright.errors import GatewrightError
from gatewright.nn import layer_sizes
from gatewright.nn.cell import LSTMCell
from gatewright.nn.linear import Linear
from gatewright.nn.lstm import LSTM
from gatewright.spec.cell import require_plain

_Module = TypeVar("_Module", bound=nn.Module)

_Kinds = dict[type[nn.Module], type[nn.Module]]

_OURS: _Kinds = {nn.LSTM: LSTM, nn.LSTMCell: LSTMCell}
_TORCHS: _Kinds = {LSTM: nn.LSTM, LSTMCell: nn.LSTMCell, Linear: nn.Linear}


def convert(module: _Module, *, back: bool = False) -> tuple[_Module, list[str]]:
    """Replace every `torch.nn.LSTM` and `torch.nn.LSTMCell` in a module tree by Gatewright's, or the other way.

    The new layers hold the very same `Parameter` objects, so optimizers made before go on working and tied
    weights stay tied; they keep hooks, names and the training flag.  Parents are changed in place; a layer
    that stands in several places is replaced by one new layer in all of them.

    Left alone are subclasses (which may have a behaviour of their own), layers whose ``forward`` was replaced
    on the instance, and layers that are not registered as submodules, such as those in a plain list.

    Tools that look for torch's own classes pass over ours: dynamic quantization, initialisers that ask
    ``isinstance(m, nn.LSTM)``.  Convert back before those.

    Args:
        module: the root of the tree; it may be an LSTM or a cell itself.
        back: whether to replace Gatewright's layers, the heads of its models included, by torch's, which have
            neither ``record=True`` nor ``checkpoint``, ``compute`` and ``saved``.

    Returns:
        The module - the same object, unless the root itself was replaced - and the names of the replaced
        layers as `torch.nn.Module.named_modules` gives them: dotted, each layer once under its first name,
        and ``""`` for the root.

    Raises:
        GatewrightError: if ``module`` is not a `torch.nn.Module`, or ``back`` meets a layer that learns its
            initial states, whose cell is not plain, whose layers differ in size, or that has residual
            connections: torch has none of these.

    >>> model = nn.ModuleDict({"encoder": nn.LSTM(3, 8), "head": nn.Linear(8, 1)})
    >>> weight = model["encoder"].weight_hh_l0
    >>> model, replaced = convert(model)
    >>> replaced
    ['encoder']
    >>> model["encoder"].weight_hh_l0 is weight
    True
    >>> model, replaced = convert(model, back=True)
    >>> type(model["encoder"])
    <class 'torch.nn.modules.rnn.LSTM'>
    """
    if not isinstance(module, nn.Module):
        raise GatewrightError("module", "a torch.nn.Module", type(module).__name__)
    replaced: list[str] = []
    return _converted(module, "", {}, replaced, _TORCHS if back else _OURS), replaced


def _converted(
    module: _Module, name: str, seen: dict[nn.Module, nn.Module], replaced: list[str], kinds: _Kinds
) -> _Module:
    """Convert one module and what is below it; ``seen`` maps each module met to what takes its place."""
    if module in seen:
        return seen[module]  # type: ignore[return-value]
    new = module
    if type(module) in kinds and "forward" not in vars(module):
        new = _rebuilt(module, kinds[type(module)])
        replaced.append(name)
    seen[module] = new
    for child_name, child in new._modules.items():
        if child is not None:
            below = _converted(child, f"{name}.{child_name}" if name else child_name, seen, replaced, kinds)
            if below is not child:
                new._modules[child_name] = below
    return new


def _rebuilt(module: _Module, kind: type[nn.Module]) -> _Module:
    """Make a layer of another kind with the state of this one.

    The registries of parameters, buffers and submodules are copied, so that changing one layer leaves the
    other as it is.  Those of hooks are shared: a handle taken before still removes its hook.  What
    `torch.nn.Module.compile` made is bound to the old layer, so it is left behind.
    """
    if not issubclass(kind, LSTM) and getattr(module, "initial_state", "zeros") != "zeros":
        expected = "'zeros', or a layer whose h_0 and c_0 the caller passes as hx, for torch's LSTM"
        raise GatewrightError("initial_state", expected, repr(module.initial_state))
    if isinstance(module, LSTM):
        require_plain("torch's LSTM", module.cell)
        layer_sizes.require_torchs("torch's LSTM", module)
    state = module.__getstate__() if isinstance(module, nn.RNNBase) else dict(vars(module))
    for key in ("_parameters", "_buffers", "_modules", "_flat_weights", "_flat_weights_names"):
        if key in state:
            state[key] = state[key].copy()
    state.pop("_compiled_call_impl", None)
    if not issubclass(kind, LSTM):
        for own in ("checkpoint", "compute", "saved", "initial_state", "residual", "_is_torchs"):
            state.pop(own, None)
    new = kind.__new__(kind)
    new.__setstate__(state)
    return new  # type: ignore[return-value]
