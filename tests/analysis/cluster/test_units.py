"""How weights become units: small ones together, the largest first, and what is read ahead."""

from itertools import chain

from mlx_probe.analysis.cluster.units import as_units


def units(works, threads=2, one_host=True):
    tasks = [((index,),) for index in range(len(works))]
    return as_units(tasks, threads, "w{}".format, works.__getitem__, one_host)


def test_small_weights_are_one_unit_that_can_be_divided():
    made = units([9e9, 9e9, *[1e8] * 400])
    assert [unit.sizes for unit in made[:3]] == [(0,), (1,), tuple(range(2, 22))]
    assert list(chain.from_iterable(unit.sizes for unit in made)) == list(range(402))
    assert made[0].parts == ()
    assert [part.sizes for part in made[2].parts] == [(index,) for index in range(2, 22)]
    assert made[2].name == "w2 and 19 more"
    assert made[2].rows == 20


def test_a_batch_is_measured_at_once():
    (unit,) = as_units([((0, 1, 2), (3,))], 1, "w{}".format, lambda index: 1.0)
    assert unit.at_once == 3
    assert [part.at_once for part in unit.parts] == [1, 1, 1, 1]


def test_few_small_weights_are_spread_over_all_workers():
    made = units([1e6] * 64, threads=4)
    assert len(made) >= 32


def test_a_worker_reads_ahead_what_workers_of_its_machine_get():
    made = units([9e9] * 6)
    assert [unit.payload.following for unit in made] == [(2,), (3,), (4,), (5,), (), ()]


def test_on_several_machines_a_worker_reads_its_own():
    made = units([9e9] * 6, one_host=False)
    assert [unit.payload.following for unit in made] == [unit.sizes for unit in made]
