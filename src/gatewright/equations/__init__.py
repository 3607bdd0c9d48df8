"""The LSTM cell in NumPy, one layer and one direction: its equations and, below each, their adjoint.

They judge every kernel of the project, so they are written to be read, not to be fast.

    i = σ(W_ii x + b_ii + W_hi h + b_hi)        c' = f ⊙ c + i ⊙ g
    f = σ(W_if x + b_if + W_hf h + b_hf)        h' = o ⊙ tanh(c')
    g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    o = σ(W_io x + b_io + W_ho h + b_ho)        with a projection: h' = W_hr (o ⊙ tanh(c'))

A name with `_pre` is a value before its activation; `d` before a name makes it the adjoint, the gradient of
the loss with respect to it.  Sizes: T steps, B rows of the batch, D inputs, H hidden units, and P outputs,
which is H without a projection.  Arrays keep the float dtype they come in, and all of one call share it.
To run a sequence from its end, give `x[::-1]`.

Another cell than the plain one is `cell=CellSpec(...)`, with the weights of the gates that it has;
`gatewright.equations.variants` has its equations.  Its dropout and zoneout are those of a training with
`masks=Masks(Place(seed))`, and their expectation without.

With `compute="bf16"` they are the numbers of the kernels' bf16 arithmetic: both operands of every product with a
weight, and of the products whose sum is the gradient of one, are rounded to bfloat16 by `bfloat16.to_bf16`; sums,
gates and states stay float32.  The forward pass forms its sums in the order of the kernels (`bfloat16.chain`), so
that only the last digits of sigmoid and tanh differ; the backward pass sums in float64.

Sources:
    Hochreiter & Schmidhuber 1997, Long Short-Term Memory, Neural Computation 9(8): the cell and two gates.
    Gers, Schmidhuber & Cummins 2000, Learning to Forget, Neural Computation 12(10): the forget gate.
    Sak, Senior & Beaufays 2014, Long Short-Term Memory Recurrent Neural Network Architectures for Large Scale
    Acoustic Modeling, Interspeech: the projection.
    Greff, Srivastava, Koutník, Steunebrink & Schmidhuber 2017, LSTM: A Search Space Odyssey, IEEE Trans. on
    Neural Networks and Learning Systems 28(10), section II: both passes, there with peepholes besides.
"""

from gatewright.counter_random import Place
from gatewright.equations.arrays import Array, Compute
from gatewright.equations.masks import Masks, StepMasks
from gatewright.equations.record import GATES, QUANTITIES, Gradients, OutputGradients, Record
from gatewright.equations.sequence import backward, forward, step
from gatewright.equations.weights import Weights

__all__ = [
    "GATES",
    "QUANTITIES",
    "Array",
    "Compute",
    "Gradients",
    "Masks",
    "OutputGradients",
    "Place",
    "Record",
    "StepMasks",
    "Weights",
    "backward",
    "forward",
    "step",
]
