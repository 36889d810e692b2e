"""`merge BASE ADAPTER` against PEFT's own merge_and_unload: the file that is written.

The cases are those of the comparison. What the comparison has no numbers for is refused, and
nothing is written.
"""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from mlx_probe.core.errors import ProbeError
from mlx_probe.lab.merge import merge_adapter
from referees.adapters.configurations import CONFIGURATIONS
from referees.adapters.referee import merged, saved_base
from referees.adapters.test_merged import folders, peft  # noqa: F401  fixtures
from referees.tally import OUTCOME, REASON


@pytest.mark.parametrize(
    ("base", "config", "settings", "expected", "edit"),
    [line[1:] for line in CONFIGURATIONS],
    ids=[line[0] for line in CONFIGURATIONS],
)
def test_the_file_is_that_of_pefts_merge(
    peft,  # noqa: F811
    folders,  # noqa: F811
    tmp_path,
    record_property,
    base,
    config,
    settings,
    expected,
    edit,
):
    if expected:
        record_property(OUTCOME, REASON)
    folder = saved_base(base, folders / base.replace(" ", "-"))
    referee = merged(peft, base, config, settings, edit, tmp_path)
    out = tmp_path / "ours"
    if expected:
        pattern = expected.removeprefix("refused: ")
        with pytest.raises(ProbeError) as refused:
            merge_adapter(str(folder), str(referee.adapter), out)
        assert re.search(pattern, str(refused.value))
        assert not out.exists()
        return
    done = merge_adapter(str(folder), str(referee.adapter), out)
    before, ours = load_file(folder / "model.safetensors"), load_file(out / "model.safetensors")
    assert ours.keys() == before.keys()
    changed = 0
    for name, got in ours.items():
        want = referee.tensors[name]
        assert got.dtype == before[name].dtype
        norm, change = np.linalg.norm(before[name]), np.linalg.norm(want - before[name])
        # PEFT computes in float32, an SVD of the base (PiSSA, KaSA) too.
        assert np.linalg.norm(got - want) < 2e-5 * (norm + change) + 1e-12, name
        changed += bool(change)
    assert done.changed == changed > 0
