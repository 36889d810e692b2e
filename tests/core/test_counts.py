from mlx_probe.core.counts import rows_text, runs_text, tensors_text, weights_text
from mlx_probe.core.language import speaking


def test_one_is_no_plural():
    texts = [text(n) for text in (rows_text, runs_text, tensors_text, weights_text) for n in (1, 2)]
    assert texts[:4] == ["1 row", "2 rows", "1 run", "2 runs"]
    assert texts[4:] == ["1 tensor", "2 tensors", "1 weight", "2 weights"]
    assert rows_text(1000) == "1,000 rows"
    assert rows_text(0) == "0 rows"


def test_a_language_without_plurals():
    with speaking("zh"):
        assert [rows_text(1), rows_text(2), runs_text(1)] == ["1 行", "2 行", "1 次运行"]
