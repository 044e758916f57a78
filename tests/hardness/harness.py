"""What is done to every public callable, and what may come of it: a right number, or one error that names an argument.

An `Entry` says how a callable is called on 16 rows; `tortured` calls it on everything else and returns what went wrong,
a line each. A result is right when it is what the float64 computation gives for the same numbers, or, for another
dtype or layout, what plain float32 gives. `CASES` counts the calls by kind.
"""

import dataclasses
import inspect
import json
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

N, P, Q = 16, 4, 3
KEY = jax.random.key(0)
RANDOM = np.random.default_rng(7)
X = (RANDOM.normal(size=(N, P)) * [2.0, 1.0, 0.7, 0.4] + [1.0, -0.5, 0.2, 0.6]).astype(np.float32)
Y = (X[:, :Q] @ RANDOM.normal(size=(Q, Q)) + 0.5 * RANDOM.normal(size=(N, Q))).astype(np.float32)
CLASSES = np.arange(N) % 3
CASES: Counter[str] = Counter()
RIGHT = 2e-3  # of the largest number in an array of results


@dataclasses.dataclass(frozen=True)
class Entry:
    """A callable, good arrays by the names of its arguments, and its other options.

    Floating arrays are taken for matrices to be spoiled, integers for classes. `given` makes the arguments of the
    arrays where they are no arguments themselves (moments). `traced` says that it promises jit and vmap; `seeded` that
    it draws, so that float64 draws otherwise; `paired` that row i of all arrays is one sample; `dear` that a shape
    takes seconds to compile, so that neither other sizes nor hard values are tried. `may` lists cases that are
    documented to come out otherwise, with the reason; `names` what an error may name besides the arguments.
    """

    function: Callable
    arrays: Mapping[str, np.ndarray]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    given: Callable | None = None
    traced: bool = True
    seeded: bool = False
    paired: bool = True
    dear: bool = False
    names: tuple[str, ...] = ()
    may: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, arrays):
        if self.given is not None:
            return self.function(*self.given(**arrays), **self.options)
        return self.function(**arrays, **self.options)

    @property
    def matrices(self):
        return [name for name, a in self.arrays.items() if np.asarray(a).dtype.kind == "f"]

    def says(self, error) -> bool:
        own = inspect.signature(self.function).parameters
        names = "|".join(map(re.escape, (*self.arrays, *self.options, *self.names, *own)))
        return bool(re.match(rf"({names})\b(\[\d+\])?|undefined for these inputs", str(error)))


def on(
    function, arrays="x y", given=None, traced=True, seeded=False, paired=True, names="", may=None, **options
) -> Entry:
    """An `Entry` whose arrays are called by their names, separated by spaces."""
    good = {"x": X, "y": Y, "labels": CLASSES}
    held = {name: good[name] for name in arrays.split()}
    return Entry(function, held, options, given, traced=traced, seeded=seeded or "key" in options, paired=paired,
                 names=tuple(names.split()), may=may or {})  # fmt: skip


def numbers(result) -> list[np.ndarray]:
    """Every array of numbers in a result, in order."""
    if result is None or isinstance(result, str | bytes) or callable(result) and not dataclasses.is_dataclass(result):
        return []
    if dataclasses.is_dataclass(result):
        return [a for field in dataclasses.fields(result) for a in numbers(getattr(result, field.name))]
    if isinstance(result, Mapping):
        return [a for value in result.values() for a in numbers(value)]
    if isinstance(result, tuple | list):
        return [a for value in result for a in numbers(value)]
    if isinstance(result, jax.Array) and jnp.issubdtype(result.dtype, jax.dtypes.prng_key):
        return []
    a = np.asarray(result)
    return [a.astype(np.float64)] if a.dtype.kind in "fiub" or a.dtype == ml_dtypes.bfloat16 else []


class Numbers(list):
    """The arrays of numbers in a result; `traced` are those that a compiled call returns, without what is static."""

    def __init__(self, result):
        super().__init__(numbers(result))
        self.traced = [a for leaf in jax.tree.leaves(result) for a in numbers(leaf)]


def outcome(entry: Entry, arrays):
    """The numbers that come out, or the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the library's own words; what NumPy warns of is an error
            return Numbers(entry(arrays))
    except Exception as error:  # judged by `wrong`: anything but two kinds is wrong
        return error


def wrong(entry: Entry, found) -> str:
    """What is wrong with an outcome by itself, or nothing."""
    if isinstance(found, list):
        bad = [i for i, a in enumerate(found) if not np.isfinite(a).all()]
        return f"silent NaN or infinity in result {bad}" if bad else ""
    if not isinstance(found, ValueError | TypeError):
        return f"{type(found).__name__}: {str(found)[:160]}"
    return "" if entry.says(found) else f"error that names no argument: {type(found).__name__}: {str(found)[:160]}"


def apart(found: list, expected: list, tolerance: float, floors=0.0) -> str:
    """Where two results differ by more than a share of the largest number of an array, or nothing."""
    if len(found) != len(expected):
        return f"{len(found)} arrays instead of {len(expected)}"
    floors = np.broadcast_to(floors, len(expected))
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        if a.shape != b.shape:
            return f"result {i} has shape {a.shape} instead of {b.shape}"
        with np.errstate(invalid="ignore"):
            off = np.where(a == b, 0, np.abs(a - b))
        if a.size and not np.max(off) <= tolerance * max(np.max(np.abs(b)), floors[i]):
            worst = np.unravel_index(np.argmax(off), a.shape)
            return f"result {i} is {a[worst]:.6g} instead of {b[worst]:.6g}"
    return ""


def layouts(a: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """The same numbers as they may lie in memory."""
    wide = np.zeros((2 * a.shape[0], *a.shape[1:]), a.dtype)
    wide[::2] = a
    frozen = a.copy()
    frozen.flags.writeable = False
    file = Path(tempfile.mkstemp(suffix=".npy", dir=folder)[1])
    np.save(file, a)
    return {
        "Fortran order": np.asfortranarray(a),
        "strided": wide[::2],
        "backwards": np.ascontiguousarray(a[::-1])[::-1],
        "read-only": frozen,
        "memory-mapped": np.load(file, mmap_mode="r"),
        "big-endian": a.astype(a.dtype.newbyteorder(">")),
    }


def dtypes(a: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of other kinds: each is compared with the same numbers as float32."""
    whole = np.round(3 * a)
    return {
        "float16": a.astype(np.float16),
        "bfloat16": a.astype(ml_dtypes.bfloat16),
        "float64": a.astype(np.float64),
        "int8": whole.astype(np.int8),
        "int64": whole.astype(np.int64),
        "uint16": np.abs(whole).astype(np.uint16),
        "bool": a > np.median(a),
    }


def values(a: np.ndarray) -> dict[str, np.ndarray]:
    """Finite float32 numbers that a careless formula does not survive."""
    column, twice = a.copy(), a.copy()
    column[:, -1] = 0.1
    twice[len(a) // 2 :] = twice[: len(a) - len(a) // 2]
    return {
        "constant": np.full_like(a, 0.3),
        "zeros": np.zeros_like(a),
        "a constant column": column,
        "duplicate rows": twice,
        "scale 1e-30": a * np.float32(1e-30),
        "scale 1e-10": a * np.float32(1e-10),
        "scale 1e10": a * np.float32(1e10),
        "scale 1e30": a * np.float32(1e30),
        "offset 1e6": a + np.float32(1e6),
        "offset 1e3": a + np.float32(1e3),
    }


def spoiled(a: np.ndarray) -> dict[str, Any]:
    """What no argument that stands for a matrix accepts."""
    nan, infinite, ragged = a.copy(), a.copy(), a.tolist()
    nan[1, ..., -1], infinite[-1, ..., 0] = np.nan, -np.inf
    ragged[1] = ragged[1] + [ragged[1][0]]
    return {
        "NaN": nan,
        "infinity": infinite,
        "infinite as float32": a.astype(np.float64) * 1e60,
        "complex": a.astype(complex),
        "objects": a.astype(object),
        "text": a.astype(str),
        "dates": np.zeros(a.shape, "datetime64[s]"),
        "nothing": None,
        "ragged": ragged,
        "a number": 1.5,
        "one axis": a[:, 0],
        "three axes": a[None],
        "0 rows": a[:0],
        "0 columns": a[:, :0],
    }


def spoiled_classes(a: np.ndarray) -> dict[str, Any]:
    """What no argument that stands for classes accepts."""
    return {
        "NaN": np.where(a == 0, np.nan, a),
        "complex": a.astype(complex),
        "objects": a.astype(object),
        "text": a.astype(str),
        "nothing": None,
        "two axes": np.stack([a, a], 1),
        "0 rows": a[:0],
        "negative": a - 1,
    }


@pytest.fixture(scope="module", autouse=True)
def counted(request):
    """Print how many calls a test file made, by kind, and keep the numbers under build/."""
    before = CASES.copy()
    yield
    made = CASES - before
    room = request.module.__name__.removeprefix("test_hard_")
    folder = Path(__file__).resolve().parents[2] / "build" / "hardness"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{room}.json").write_text(json.dumps(made, indent=1) + "\n")
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nhard cases of {room}: {made.total():,} ({', '.join(f'{n:,} {kind}' for kind, n in made.items())})")


def spoiled_option(value) -> dict[str, Any]:
    """What no option accepts in place of a number, of a choice by name or of a key of random numbers."""
    if isinstance(value, bool):
        return {}
    if isinstance(value, int | float):
        wrong_numbers = {"NaN": float("nan"), "infinity": float("inf"), "negative": -(10**9)}
        return wrong_numbers | {"text": "text", "complex": 1j, "nothing": None, "a list": [value, value]}
    if isinstance(value, str):
        return {"another": "another", "a number": 3}
    return {"a number": 3} if isinstance(value, jax.Array) else {}


def tortured(entry: Entry, folder: Path) -> list[str]:
    """What goes wrong, a line each, over every case."""
    said: list[str] = []

    def judge(kind, case, found, more=""):
        CASES[kind] += 1
        reason = wrong(entry, found) or more
        if reason and case not in entry.may:
            said.append(f"{kind}: {case}: {reason}")

    good = dict(entry.arrays)
    base = outcome(entry, good)
    judge("plain", "good arrays", base, "" if isinstance(base, list) else f"refused: {base}")
    if said:
        return said
    for case in layouts(X, folder):
        laid = good | {name: layouts(good[name], folder)[case] for name in good}
        found = outcome(entry, laid)
        judge("layout", case, found, isinstance(found, list) and apart(found, base, 1e-5) or _refused(found))
    for case in dtypes(X):
        cast = good | {name: dtypes(good[name])[case] for name in entry.matrices}
        plain = good | {name: cast[name].astype(np.float32) for name in entry.matrices}
        found, expected = outcome(entry, cast), outcome(entry, plain)
        judge("dtype", case, found, _unlike(found, expected))
    for name in good:
        bad = spoiled(good[name]) if name in entry.matrices else spoiled_classes(good[name])
        for case, value in bad.items():
            found = outcome(entry, good | {name: value})
            judge("refused", f"{name}: {case}", found, isinstance(found, list) and "let through" or "")
        if entry.paired and len(good) > 1:
            found = outcome(entry, good | {name: good[name][:-1]})
            judge("refused", f"{name}: one row fewer", found, isinstance(found, list) and "let through" or "")
    for name, value in entry.options.items():
        for case, bad in spoiled_option(value).items():
            found = outcome(dataclasses.replace(entry, options={**entry.options, name: bad}), good)
            CASES["option"] += 1
            refused = isinstance(found, ValueError | TypeError) and ("key" if name == "key" else name) in str(found)
            if not refused and f"{name}: {case}" not in entry.may:
                said.append(f"option: {name}: {case}: {found!s:.160}")
    if entry.dear:
        return said
    for rows in (1, 2, 3):
        few = outcome(entry, {name: a[:rows] for name, a in good.items()})
        judge("size", f"{rows} rows", few)
        if rows > 1 and isinstance(few, list):
            break  # where two rows are enough, three are only dearer
    thin = good | {name: good[name][:, :1] for name in entry.matrices}
    judge("size", "1 column", outcome(entry, thin))
    hard = {case: good | {n: values(good[n])[case] for n in entry.matrices} for case in values(X)}
    plain = {case: outcome(entry, arrays) for case, arrays in hard.items()}
    for case, reason in _against_double(entry, good, base, hard, plain).items():
        judge("value", case, plain.get(case, base), reason)
    for case, reason in _traced(entry, good, base, hard, plain).items():
        judge("traced", case, base, reason)
    return said


def _without_padding(found, expected):
    """What a trace had to pad to a shape known beforehand, cut where only zeros are cut."""
    cut = []
    for a, b in zip(found, expected, strict=False):
        inside = a[tuple(map(slice, b.shape))] if a.ndim == b.ndim else a
        cut.append(inside if np.count_nonzero(inside) == np.count_nonzero(a) else a)
    return cut + found[len(cut) :]


def _refused(found) -> str:
    return "" if isinstance(found, list) else f"refused: {found}"


def _unlike(found, expected) -> str:
    if isinstance(found, list) != isinstance(expected, list):
        return f"gives {found!s:.120}, but as float32 {expected!s:.120}"
    return apart(found, expected, 0) if isinstance(found, list) else ""


def _sizes(good, found) -> list[float]:
    """How large each array is on good rows, where it is of that order now: a number that is 0 then is 0 to that."""
    if not isinstance(good, list) or len(good) != len(found):
        return [0.0] * len(found)
    sizes = [max(np.max(np.abs(a), initial=0), 0) for a in good]
    return [size if np.max(np.abs(b), initial=0) <= 10 * size and 1e-4 < size < 1e4 else 0.0
            for size, b in zip(sizes, found, strict=True)]  # fmt: skip


def _against_double(entry, good, base, hard, plain) -> dict[str, str]:
    """What differs from the float64 computation, by case."""
    reasons = {}
    with jax.enable_x64(True):
        exact = {case: outcome(entry, arrays | {n: arrays[n].astype(np.float64) for n in entry.matrices})
                 for case, arrays in {"good arrays": good, **hard}.items()}  # fmt: skip
    for case, expected in exact.items():
        found = base if case == "good arrays" else plain[case]
        reasons[case] = ""
        if isinstance(found, list) and not isinstance(expected, list):
            reasons[case] = f"gives {[a.ravel()[:3].tolist() for a in found][:2]}, but float64 says {expected!s:.120}"
        elif isinstance(found, list) and not entry.seeded:
            reasons[case] = apart(found, expected, RIGHT, floors=_sizes(exact["good arrays"], expected))
    return reasons


def _traced(entry, good, base, hard, plain) -> dict[str, str]:
    """What differs under jit of vmap over all cases at once, or, of what cannot be traced, how it says so."""
    if not entry.matrices:
        return {}
    fixed = {name: a for name, a in good.items() if name not in entry.matrices}
    worlds = {"good arrays": good, **hard}

    def one(arrays):
        return [a for a in jax.tree.leaves(entry({name: (fixed | arrays)[name] for name in good}))
                if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key)]  # fmt: skip

    stacks = {name: jnp.asarray(np.stack([w[name] for w in worlds.values()])) for name in entry.matrices}
    if not entry.traced:
        try:
            jax.jit(one)({name: stack[0] for name, stack in stacks.items()})
        except TypeError:
            return {"says that it cannot": ""}
        except Exception as error:
            return {"says that it cannot": f"{type(error).__name__}: {str(error)[:120]}"}
        return {"says that it cannot": "can be traced, against what the table says"}
    try:
        together = jax.jit(jax.vmap(one))(stacks)
    except Exception as error:
        return {"jit of vmap": f"{type(error).__name__}: {str(error)[:160]}"}
    reasons = {}
    for i, case in enumerate(worlds):
        expected = base if case == "good arrays" else plain[case]
        found = [np.asarray(a[i], np.float64) for a in together]
        reasons[case] = ""
        if isinstance(expected, list):
            reasons[case] = apart(_without_padding(found, expected.traced), expected.traced, RIGHT, floors=1e-3)
        elif case not in ("constant", "zeros") and all(np.isfinite(a).all() for a in found):
            reasons[case] = f"{[a.ravel()[:3].tolist() for a in found][:2]}, but a plain call says {expected!s:.100}"
    return reasons
