"""The tiny model and the installed command that end-to-end tests share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from matrices import store

COMMAND = Path(sys.executable).with_name("mlx-probe")

# What differs between two runs over the same bytes.
OF_THE_MOMENT = ["created_at", "read_seconds", "compute_seconds", "read_gbps"]


def run(*arguments, **environment):
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=120,
    )


def heed_ctrl_c():
    """For the child of a test that was started in the background, where SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ignore_ctrl_c():
    """For the child: what a shell does to the background jobs of a script."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def refused(result, *says):
    assert result.returncode not in (0, None)
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    for text in says:
        assert text in result.stderr
    return result.stderr


def weights(rng):
    def matrix(dtype, *shape):
        return store(rng.standard_normal(shape), dtype)[0], dtype

    spoilt = rng.standard_normal((8, 8)).astype(np.float32)
    spoilt[0, 0], spoilt[1, 1] = np.nan, np.inf
    return {
        "model.embed_tokens.weight": matrix("BF16", 200, 32),
        "model.layers.0.input_layernorm.weight": matrix("F32", 32),
        "model.layers.0.self_attn.q_proj.weight": matrix("F16", 32, 32),
        "model.layers.0.mlp.gate_proj.weight": matrix("F32", 64, 32),
        "model.layers.0.mlp.experts.down_proj": matrix("BF16", 3, 32, 16),
        "model.layers.11.self_attn.k_proj.weight": matrix("F8_E4M3", 16, 32),
        "model.layers.11.self_attn.v_proj.weight": matrix("F64", 16, 32),
        "model.layers.11.conv1d.weight": matrix("F32", 32, 1, 4),
        "model.layers.11.mlp.up_proj.weight": (spoilt, "F32"),
        "model.norm.weight": matrix("F8_E5M2", 32),
        "position_ids": (np.arange(64)[None], "I64"),
        "mask": (np.array([[1, 0], [1, 1]], np.uint8), "BOOL"),
        "empty": (np.zeros((0, 4), np.float32), "F32"),
        "scalar": (np.float32(2.0).reshape(()), "F32"),
        "lm_head.weight": (np.zeros((40, 32), np.float32), "F32"),
    }


def comparable(frame):
    frame = frame.drop(columns=OF_THE_MOMENT)
    # pandas copies the attributes, which hold all metadata, whenever a column is looked at.
    frame.attrs = {}
    return frame
