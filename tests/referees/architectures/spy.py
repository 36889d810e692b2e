"""What a running model computes: inputs of its projections, queries, keys, values, activations.

Every sequence has one token. Then the softmax of the scores is 1, rotary embeddings turn by an
angle of 0, and the heads' outputs are their values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# Sequences in a batch; no other extent of the tiny models is 13.
BATCH = 13

_LINEAR = (functional.linear, torch._C._nn.linear)
_PRODUCTS = (
    *(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__),
    *(torch.bmm, torch.Tensor.bmm, torch.Tensor.__rmatmul__),
)
_ADDED_PRODUCTS = (torch.baddbmm, torch.Tensor.baddbmm)
_SOFTMAX = (functional.softmax, torch.softmax, torch.Tensor.softmax)
_ACTIVATIONS = (
    *(functional.silu, functional.gelu, functional.relu, functional.sigmoid, torch._C._nn.gelu),
    *(torch.sigmoid, torch.Tensor.sigmoid, torch.relu, torch.tanh, torch.Tensor.tanh),
)


def _is_product(arguments):
    """Whether an einsum is a batched product of two matrices."""
    equation, *operands = arguments
    if len(operands) != 2 or not isinstance(equation, str):
        return False
    sides = equation.replace(" ", "").partition("->")
    one, _, two = sides[0].partition(",")
    return one[-1] == two[-2] and sides[2] == one[:-1] + two[-1]


@dataclass(frozen=True, eq=False)
class Event:
    """One call of torch: "linear", "product", "softmax" or "activation"."""

    kind: str
    x: torch.Tensor
    y: Any
    out: torch.Tensor


class Spy(TorchFunctionMode):
    """Notes the calls of torch inside it."""

    def __init__(self):
        super().__init__()
        self.events: list[Event] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in _LINEAR:
            self._note("linear", args[0], args[1], out)
        elif func is torch.addmm:
            self._note("linear", args[1], args[2].t(), out)
        elif func in _PRODUCTS:
            one, two = (*args, *kwargs.values())[:2]
            matrix = two.dim() == 2
            self._note("linear" if matrix else "product", one, two.t() if matrix else two, out)
        elif func in _ADDED_PRODUCTS:
            one, two = (
                kwargs.get(name, args[place] if len(args) > place else None)
                for place, name in ((1, "batch1"), (2, "batch2"))
            )
            self._note("product", one, two, out)
        elif func is torch.einsum and _is_product(args):
            self._note("product", *args[1:], out)
        elif func in _SOFTMAX and args[0].dim() > 2:
            self._note("softmax", args[0], None, out)
        elif func in _ACTIVATIONS:
            self._note("activation", args[0], None, out)
        return out

    def _note(self, *event):
        self.events.append(Event(*event))


@dataclass(frozen=True)
class Call:
    """One call of softmax attention; arrays of (BATCH - 1, heads, width), differences of samples.

    A difference of two samples is free of biases. ``before`` and ``after`` are the linear maps
    around it.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    before: list[Event]
    after: list[Event]


def difference(x):
    return x[1:] - x[:1]


def rows_of(x, width):
    """A (BATCH, width) array of a tensor that has one row for each sample; None if it has not."""
    if x.shape[-1] != width or x.numel() != BATCH * width:
        return None
    return x.reshape(BATCH, width).double().numpy()


def by_head(x):
    """(BATCH, heads, width) of the first token."""
    if x.dim() == 5:  # (batch, key heads, group, tokens, width)
        x = x.flatten(1, 2)
    if x.dim() == 3:  # (batch * heads, tokens, width)
        x = x.reshape(BATCH, -1, *x.shape[1:])
    return x[:, :, 0].double().numpy()


def calls(events):
    """The calls of attention among the events."""
    found = []
    for i, event in enumerate(events):
        if event.kind != "softmax":
            continue
        before, after = events[:i], events[i:]
        # A sink is one more column of the scores.
        scores = [e for e in before if e.kind == "product" and e.out.shape[:-1].numel()
                  == event.x.shape[:-1].numel() and e.out.shape[-1] == 1]  # fmt: skip
        out = next((e for e in after if e.kind == "product"), None)
        if not scores or out is None or out.x.numel() % BATCH or out.y.numel() % BATCH:
            continue
        q, k = scores[-1].x, scores[-1].y.transpose(-1, -2)
        found.append(
            Call(
                *(difference(by_head(x)) for x in (q, k, out.y)),
                [e for e in before if e.kind == "linear"],
                [e for e in events[events.index(out) :] if e.kind == "linear"][:4],
            )
        )
    return found


def run(model):
    """The events of one forward pass over BATCH sequences of one token."""
    tokens = torch.arange(1, BATCH + 1).view(BATCH, 1)
    inputs = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens + BATCH
    with torch.no_grad(), Spy() as spy:
        model(**inputs)
    return spy.events
