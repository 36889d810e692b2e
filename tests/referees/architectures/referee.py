"""Compares parts and heads with what a running model computed."""

import numpy as np

from referees.architectures.spy import difference, rows_of

# In relation to the largest element; the models compute in float32.
TOLERANCE = 3e-4


def proportional(found, expected):
    """Whether two arrays are equal but for one positive factor, such as 1 / sqrt(width)."""
    square = (expected * expected).sum()
    if not square or not np.isfinite(found).all():
        return False
    factor = (found * expected).sum() / square
    largest = np.abs(found).max()
    return factor > 0 and np.abs(found - factor * expected).max() <= TOLERANCE * largest


def _inputs(call, width):
    """Differences of the inputs of this width of the last linear maps before a call."""
    tensors = {id(event.x): event.x for event in call.before[-16:]}
    arrays = [rows_of(x, width) for x in tensors.values()]
    return [difference(x) for x in arrays if x is not None]


def _heads(x, matrix, count, copies):
    """What each head makes of x, the keys' heads once for each of their queries."""
    return np.repeat((x @ matrix.T).reshape(len(x), count, -1), copies, axis=1)


def runs_qk(call, queries, keys, heads, kv_heads):
    """Whether a call's scores are those of the two matrices."""
    if call.q.shape[1] != heads or call.q.shape[2] * heads != len(queries):
        return False
    k = call.k if call.k.shape[1] == heads else np.repeat(call.k, heads // kv_heads, axis=1)
    if k.shape[1] != heads:
        return False
    scores = np.einsum("ihd,jhd->hij", call.q, k)
    return any(
        proportional(
            scores,
            np.einsum(
                "ihd,jhd->hij",
                _heads(x, queries, heads, 1),
                _heads(y, keys, kv_heads, heads // kv_heads),
            ),
        )
        for x in _inputs(call, queries.shape[1])
        for y in _inputs(call, keys.shape[1])
    )


def runs_ov(call, outputs, values, heads, kv_heads):
    """Whether W_o receives the heads' values in a call, each in its columns."""
    expected = [
        _heads(x, values, kv_heads, heads // kv_heads).reshape(len(x), -1)
        for x in _inputs(call, values.shape[1])
    ]
    for event in call.after:
        received = rows_of(event.x, outputs.shape[1])
        if received is None or not _is(event.y, outputs):
            continue
        found = difference(received)
        if any(proportional(found, one) for one in expected):
            return True
    return False


def runs_gate(events, fused, gate):
    """Whether the part that we call the gate is what the model activates; None if it never ran."""
    ran = None
    for i, event in enumerate(events):
        # The model may keep apart what it saves as one matrix.
        if event.kind != "linear" or not any(_is(event.y, matrix) for matrix in (fused, gate)):
            continue
        x = event.x.reshape(-1, fused.shape[1]).double().numpy()
        if len(x) < 3:
            continue
        expected = difference(x @ gate.T)
        for later in events[i : i + 8]:
            if later.kind == "activation" and later.x.numel() == len(x) * len(gate):
                found = difference(later.x.reshape(len(x), -1).double().numpy())
                if proportional(found, expected):
                    return True
                ran = False
    return ran


def _is(tensor, matrix):
    return tuple(tensor.shape) == matrix.shape and np.allclose(
        tensor.double().numpy(), matrix, atol=1e-6
    )
