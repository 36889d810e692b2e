from mlx_probe.core.language import speaking
from mlx_probe.core.lists import enumerated
from mlx_probe.core.messages import translated
from mlx_probe.report.fields import architecture_text


def test_a_list_has_the_comma_of_its_language():
    assert enumerated(["a", "b"]) == "a, b"
    with speaking("zh"):
        assert enumerated(["a", "b"]) == "a、b"
        assert translated("Choose from std, alpha, rank") == "可选：std、alpha、rank"


def test_an_architecture_in_both_languages():
    known = {"model_type": "llama", "kv_heads": 3, "head_dim": None, "odd_name": 1}
    assert architecture_text(known) == "model type llama, kv heads 3, odd name 1"
    with speaking("zh"):
        assert architecture_text(known) == "模型类型 llama、KV 头数 3、odd name 1"


def test_a_file_of_another_size():
    with speaking("zh"):
        assert translated("cannot read a.csv: 0 bytes instead of 12") == (
            "无法读取 a.csv：0 字节，应为 12 字节"
        )
