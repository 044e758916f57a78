"""Is what is summed over blocks, streams, devices and processes what one machine reads off the whole?"""

import os
import socket
import subprocess
import sys

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.align import procrustes, procrustes_from, ridge_map, ridge_map_from
from repgeo.debiased_moments import debiased_moments
from repgeo.erasure import attraction, leace, leace_from, weat, weat_from
from repgeo.large import summed, summed_over, summed_over_processes, summed_stream
from repgeo.moments import moments, unit_sum
from repgeo.similarity import (
    cca,
    cca_from,
    cka,
    cka_debiased,
    cka_debiased_from,
    cka_from,
    cka_minibatch_from,
    minibatch_grid,
    svcca,
    svcca_from,
)
from repgeo.similarity import procrustes as shape_distance
from repgeo.similarity import procrustes_from as shape_distance_from
from repgeo.spectrum import (
    average_cosine,
    average_cosine_from,
    effective_rank,
    participation_ratio,
    spectrum,
    spectrum_from,
    uniformity,
    uniformity_by_blocks,
)

N, P, Q = 603, 6, 5  # rows that neither blocks nor devices divide
FROM_MOMENTS = {  # what is read from the sum, and what from the whole
    "cka": (cka_from, cka),
    "cca": (cca_from, cca),
    "svcca": (svcca_from, svcca),
    "procrustes": (shape_distance_from, shape_distance),
    "spectrum": (
        lambda m: participation_ratio(spectrum_from(m, center=True)),
        lambda x, y: participation_ratio(spectrum(x, center=True)),
    ),
    "effective rank": (
        lambda m: effective_rank(spectrum_from(m, center=True)),
        lambda x, y: effective_rank(spectrum(x, center=True)),
    ),
    "leace": (lambda m: leace_from(m).projector, lambda x, y: leace(x, y, labels="continuous").projector),
    "map": (lambda m: procrustes_from(m).weights, lambda x, y: procrustes(x, y).weights),
    "ridge": (lambda m: ridge_map_from(m).weights, lambda x, y: ridge_map(x, y).weights),
}


def pair(n=N, seed=0, offset=3.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, P)) @ random.normal(size=(P, P))
    y = x @ random.normal(size=(P, Q)) + random.normal(size=(n, Q))
    return (x + offset).astype(np.float32), (y - offset).astype(np.float32)


def on_disk(a, folder, name):
    path = folder / name
    np.save(path, a)
    return np.load(path, mmap_mode="r")


def sources(kind, folder):
    """Both sides as a user may hold them."""
    x, y = pair()
    if kind == "memory-mapped":
        return on_disk(x, folder, "x.npy"), on_disk(y, folder, "y.npy")
    if kind == "dask":
        return dask.array.from_array(x, chunks=(50, 4)), dask.array.from_array(y, chunks=(90, Q))
    return x, y


@pytest.mark.parametrize("kind", ["arrays", "memory-mapped", "dask"])
def test_blocks_of_any_source_add_up_to_the_whole(kind, tmp_path):
    seen = []
    m = summed(moments, *sources(kind, tmp_path), rows=100, progress=lambda done, n: seen.append((done, n)))
    assert seen == [(100 * i, N) for i in range(1, 7)] + [(N, N)]
    for name, (of_sum, of_whole) in FROM_MOMENTS.items():
        np.testing.assert_allclose(of_sum(m), of_whole(*pair()), rtol=2e-5, atol=2e-5, err_msg=name)


def test_in_double_precision_blocks_add_up_to_a_millionth_of_a_millionth():
    with jax.enable_x64(True):
        x, y = (a.astype(np.float64) for a in pair())
        parts, whole = summed(moments, x, y, rows=7), moments(x, y)
        for mine, right in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-11)


def test_a_generator_is_summed_as_it_comes():
    x, y = pair()
    seen = []
    batches = ((x[i : i + 100], y[i : i + 100]) for i in range(0, N, 100))
    total = summed_stream(debiased_moments, batches, progress=lambda done, n: seen.append((done, n)))
    np.testing.assert_allclose(cka_debiased_from(total), cka_debiased(x, y), rtol=1e-6)
    assert seen[-1] == (N, None)


def test_layers_come_as_batches_of_lists():
    x, y = pair()
    parts = [slice(i, i + 100) for i in range(0, 600, 100)]
    total = summed_stream(minibatch_grid, (([x[r], y[r]], [y[r]]) for r in parts))
    alone = minibatch_grid([x[parts[0]], y[parts[0]]], [y[parts[0]]])
    for r in parts[1:]:
        alone = alone + minibatch_grid([x[r], y[r]], [y[r]])
    np.testing.assert_allclose(cka_minibatch_from(total), cka_minibatch_from(alone), rtol=1e-6)


def test_cosines_need_the_sum_of_unit_rows_alone(tmp_path):
    x, _ = sources("memory-mapped", tmp_path)
    np.testing.assert_allclose(average_cosine_from(summed(unit_sum, x, rows=70)), average_cosine(x), atol=1e-6)


def test_weat_of_streams_is_that_of_the_whole():
    words, attributes = pair(200, 1)[0], pair(300, 2)[0]
    a, b = attributes[:120], attributes[120:]
    key = jax.random.key(0)
    right = weat(words[:100], words[100:], a, b, key=key)
    sums = [summed(unit_sum, side, rows=50) for side in (a, b)]
    pull = np.concatenate([attraction(words[i : i + 30], *sums) for i in range(0, 200, 30)])
    found = weat_from(pull[:100], pull[100:], key=key)
    np.testing.assert_allclose([found.d, found.p], [right.d, right.p], atol=2e-4)


@pytest.mark.parametrize("rows", [100, 1, 5_000])
def test_uniformity_goes_through_all_pairs_of_blocks(rows, tmp_path):
    x = on_disk(pair(60 if rows == 1 else N)[0], tmp_path, "x.npy")
    seen = []
    got = uniformity_by_blocks(x, rows=rows, progress=lambda *at: seen.append(at))
    np.testing.assert_allclose(got, uniformity(x), rtol=1e-5)
    assert seen[-1][0] == seen[-1][1]


def test_one_device_or_process_is_a_sum_of_one():
    x, y = pair()
    mesh = jax.make_mesh((1,), ("rows",))
    np.testing.assert_allclose(summed_over(mesh, moments, x, y).xy, moments(x, y).xy, rtol=1e-6)
    assert summed_over_processes(total := moments(x, y)) is total


EIGHT = """
import jax, numpy as np
from repgeo.debiased_moments import debiased_moments
from repgeo.large import summed_over
from repgeo.moments import moments
from repgeo.similarity import cka_debiased_from, cka_from
from repgeo.spectrum import participation_ratio, spectrum_from
assert jax.device_count() == 8
x = np.load("x.npy"), np.load("y.npy")
for shape, names in (((8,), ("rows",)), ((2, 4), ("hosts", "devices"))):
    mesh = jax.make_mesh(shape, names)
    m, d = (summed_over(mesh, statistic, *x) for statistic in (moments, debiased_moments))
    got = [cka_from(m), participation_ratio(spectrum_from(m, center=True)), cka_debiased_from(d)]
    print(*(float(v).hex() for v in got))
"""


def test_eight_devices_give_what_one_gives(tmp_path):
    x, y = pair()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    flags = "--xla_force_host_platform_device_count=8"
    lines = subprocess.run(
        [sys.executable, "-c", EIGHT], cwd=tmp_path, env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()
    alone = [cka(x, y), participation_ratio(spectrum(x, center=True)), cka_debiased(x, y)]
    for line in lines:
        np.testing.assert_allclose([float.fromhex(v) for v in line.split()], alone, rtol=1e-6)
    assert len(lines) == 2


PROCESS = """
import sys, jax, numpy as np
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from repgeo.large import summed, summed_over_processes
from repgeo.moments import moments
from repgeo.similarity import cka_from
mine = [np.load(f"{side}{sys.argv[2]}.npy", mmap_mode="r") for side in "xy"]
print(float(cka_from(summed_over_processes(summed(moments, *mine, rows=100)))).hex())
"""


def test_two_processes_each_with_files_of_its_own_find_the_number_of_the_whole(tmp_path):
    x, y = pair()
    for i, part in enumerate((slice(0, 250), slice(250, N))):
        np.save(tmp_path / f"x{i}.npy", x[part])
        np.save(tmp_path / f"y{i}.npy", y[part])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(i)], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], said
    values = [float.fromhex(out.split()[-1]) for out, _ in said]
    np.testing.assert_allclose(values, float(cka(x, y)), rtol=1e-6)
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: summed(moments), ValueError, "arrays: expected at least one; got none"),
        (lambda x: summed(moments, x, x[1:]), ValueError, r"arrays: expected as many rows each, .*; got \[603, 602\]"),
        (lambda x: summed(moments, x[:0], x[:0]), ValueError, "arrays: expected as many rows each, at least one"),
        (lambda x: summed(moments, x.tolist(), x), TypeError, "arrays: expected arrays of rows; got list"),
        (lambda x: summed(moments, x, x, rows=0), ValueError, "rows: expected"),
        (lambda x: summed(lambda x: (x.sum(),), x), TypeError, "statistic: expected sums that add up .*; got tuple"),
        (lambda x: summed(moments, np.where(x > 9, np.nan, x), x), ValueError, "x: expected finite"),
        (lambda x: summed_stream(moments, []), ValueError, "batches: expected at least one; got none"),
        (lambda x: summed_stream(moments, 3), TypeError, "batches: expected an iterable of batches; got int"),
        (lambda x: summed_over(8, moments, x, x), TypeError, "mesh: expected a jax.sharding.Mesh; got int"),
        (lambda x: summed_over(jax.make_mesh((1,), "r"), moments, x, x[1:]), ValueError, "arrays: expected at least"),
        (lambda x: summed_over(jax.make_mesh((1,), "r"), moments, x[:0], x[:0]), ValueError, "expected a row for each"),
        (lambda x: unit_sum(x * 0), ValueError, "x: expected rows with a direction"),
        (lambda x: unit_sum(x) + unit_sum(x[:, :2]), ValueError, "unit sum: expected batches of equal widths"),
        (lambda x: average_cosine_from(unit_sum(x[:1])), ValueError, "s: expected at least 2 rows; got 1"),
        (lambda x: average_cosine_from(x), TypeError, "s: expected a UnitSum"),
        (lambda x: attraction(x, x, x), TypeError, "a: expected a UnitSum"),
        (lambda x: attraction(x[:, :2], unit_sum(x), unit_sum(x)), ValueError, "a: expected 2 features"),
        (lambda x: weat_from([1.0], [1.0, 2.0]), ValueError, "x and y: expected as many words"),
        (lambda x: weat_from([np.nan], [1.0]), ValueError, "x and y: expected finite values"),
        (lambda x: uniformity_by_blocks(x[:1]), ValueError, "x: expected at least 2 rows"),
        (lambda x: uniformity_by_blocks(x * 0), ValueError, "x: expected rows"),
    ],
)
def test_bad_input_gives_one_clear_error(call, error, message):
    with pytest.raises(error, match=message):
        call(pair()[0])


def test_a_device_that_meets_a_nan_says_so_in_the_sum():
    x, y = pair()
    total = summed_over(jax.make_mesh((1,), ("rows",)), moments, np.where(x > 9, np.nan, x), y)
    with pytest.raises(ValueError, match="m: expected finite moments; got NaN"):
        cka_from(total)


def test_rounding_of_many_blocks_stays_that_of_a_few():
    x = np.full((4096, 1), 0.1, np.float32)
    total = summed(lambda x: jnp.sum(x), x, rows=1)
    np.testing.assert_allclose(total, np.float64(np.float32(0.1)) * 4096, rtol=3e-7)
