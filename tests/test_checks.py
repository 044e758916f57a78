"""The door: what it lets in, how it converts it, and that its errors name the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo import checks

X = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, bool, np.float16, np.float32, np.float64, jnp.bfloat16])
def test_every_real_dtype_becomes_single_precision(dtype):
    a = jnp.asarray(X, dtype) if dtype == jnp.bfloat16 else X.astype(dtype)
    assert checks.matrix(a).dtype == jnp.float32


def test_double_precision_is_kept_only_in_64_bit_mode():
    with jax.enable_x64(True):
        assert checks.matrix(X).dtype == jnp.float64
        assert checks.matrix(X.astype(np.float32)).dtype == jnp.float32
        assert checks.matrix(X.astype(int)).dtype == jnp.float64


def test_a_pair_gets_one_dtype():
    with jax.enable_x64(True):
        x, y = checks.paired(X, X.astype(np.float16))
    assert x.dtype == y.dtype == jnp.float64


def test_lists_are_matrices():
    np.testing.assert_array_equal(checks.matrix(X.tolist()), X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(2, 1), (60, 60), (800, 27), (5000, 1), (2, 5000), (300, 300)])
def test_one_bad_value_is_found_in_a_matrix_of_any_size(shape, bad):
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for place in (0, a.size // 3, a.size - 1):
        spoilt = a.copy()
        spoilt.flat[place] = bad
        with pytest.raises(ValueError, match=f"1 NaN or inf .* row {place // shape[1]}, column {place % shape[1]}"):
            checks.matrix(spoilt)


def test_a_jax_array_of_the_right_dtype_is_not_copied():
    a = jnp.asarray(X, jnp.float32)
    assert checks.matrix(a) is a or checks.matrix(a).unsafe_buffer_pointer() == a.unsafe_buffer_pointer()


@pytest.mark.parametrize("bad", [np.array([["a", "b"]]), X.astype(complex), X.astype(object), None, {1: 2}])
def test_what_is_not_a_real_number_is_a_type_error(bad):
    with pytest.raises(TypeError, match="^z: expected real numbers; got dtype"):
        checks.matrix(bad, "z")


def test_the_first_bad_entry_is_located():
    a = X.copy()
    a[2, 1] = a[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"z: expected finite values; got 2 NaN or inf .*first at row 2, column 1"):
        checks.matrix(a, "z")


def test_a_value_beyond_float32_is_reported_as_infinite_there_and_accepted_in_float64():
    with pytest.raises(ValueError, match=r"NaN or inf \(as float32\), the first at row 0, column 1"):
        checks.matrix(X * 1e300)
    with jax.enable_x64(True):
        assert checks.matrix(X * 1e300).dtype == jnp.float64


def test_identical_rows_are_refused_unless_allowed():
    same = np.ones((4, 3))
    with pytest.raises(ValueError, match="rows that differ; got 4 identical rows"):
        checks.matrix(same)
    assert checks.matrix(same, may_be_constant=True).shape == (4, 3)


def test_rows_of_unequal_length_say_so():
    with pytest.raises(ValueError, match="^z: expected rows of equal length"):
        checks.matrix([[1.0], [1.0, 2.0]], "z")


def test_both_shapes_are_named_when_samples_differ():
    with pytest.raises(ValueError, match=r"x and y: .*\(4, 3\) and \(3, 3\)"):
        checks.paired(X, X[:3])


def test_shapes_are_checked_under_a_trace_and_values_are_not():
    traced = jax.jit(checks.matrix)
    with pytest.raises(ValueError, match="expected a matrix"):
        traced(jnp.ones(3))
    assert np.isnan(traced(jnp.full((3, 2), jnp.nan))).all()


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_an_array_that_a_traced_function_closes_over_is_accepted(convert):
    x = convert(X.astype(np.float32))
    total = jax.jit(lambda y: jnp.sum(checks.paired(x, y)[0] * y))
    assert float(total(jnp.ones((4, 3)))) == X.sum()


def test_bad_values_that_a_traced_function_closes_over_are_still_refused():
    x = jnp.full((4, 3), jnp.nan)
    with pytest.raises(ValueError, match="x: expected finite values"):
        jax.jit(lambda y: checks.paired(x, y)[0] + y)(jnp.ones((4, 3)))


def test_count_takes_integers_of_any_kind_and_nothing_else():
    assert checks.count(np.int64(3), "k", low=1, high=3) == 3
    for bad in (True, 3.0, "3", None, np.ones(1, int)):
        with pytest.raises(TypeError, match="^k: expected an integer"):
            checks.count(bad, "k", low=1, high=3)
    for bad in (0, 4):
        with pytest.raises(ValueError, match=rf"^k: expected 1 <= k <= 3 \(why\); got {bad}"):
            checks.count(bad, "k", low=1, high=3, why="why")


def test_real_takes_numbers_of_any_kind_within_its_range():
    for good in (1, 0.5, np.float32(0.5), np.float16(0.5), jnp.float32(0.5), jnp.bfloat16(0.5), np.array(1)):
        assert checks.real(good, "a", low=0, high=1) == float(good)
    for bad in ("1", b"1", None, 1j, [1.0], np.ones(1), object(), np.str_("1")):
        with pytest.raises(TypeError, match="^a: expected a number"):
            checks.real(bad, "a", low=0, high=1)
    for bad in (-0.1, 1.1, np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=r"^a: expected a finite number in \[0, 1\]"):
            checks.real(bad, "a", low=0, high=1)


def test_an_open_lower_end_is_excluded():
    assert checks.real(0, "a", low=0) == 0
    with pytest.raises(ValueError, match=r"in \(0, inf\]; got 0"):
        checks.real(0, "a", low=0, open_low=True)


def test_a_traced_number_passes():
    assert float(jax.jit(lambda a: checks.real(a, "a", low=0, high=1))(5.0)) == 5


def test_a_choice_lists_its_options():
    assert checks.choice("b", "letter", ("a", "b")) == "b"
    with pytest.raises(ValueError, match="letter: expected one of a, b; got 'c'"):
        checks.choice("c", "letter", ("a", "b"))


def test_an_undefined_value_raises_only_where_it_is_known():
    assert checks.defined(jnp.float32(2), "why") == 2
    with pytest.raises(ValueError, match="undefined for these inputs: why"):
        checks.defined(jnp.float32(jnp.nan), "why")
    assert jnp.isnan(jax.jit(lambda a: checks.defined(a, "why"))(jnp.nan))


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (40, 3)])
def test_what_numpy_sees_of_values_xla_sees_too(shape):
    x = np.ones(shape, np.float32)
    for place in (None, (0, 0), (-1, -1)):
        for value in (1, 2, -0.0, np.nan, np.inf, -np.inf, 1e38):
            a = x.copy()
            if place:
                a[place] = value
            here = checks._values(jnp.asarray(a))
            there = tuple(map(bool, checks._values_there(jnp.asarray(a))))
            assert here[0] == there[0] and (not here[0] or here[1] == there[1]), (place, value)
