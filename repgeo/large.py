"""Sums over data that no memory holds: block by block on the host, over the devices of a mesh, over processes.

All that is asked of a statistic is that what it makes of two batches adds up with `+` to what it makes of both, as
`moments`, `debiased_moments` and `minibatch_grid` do; whatever is read from such a sum is then known of the whole.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial, reduce
from operator import add
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from repgeo import checks


def summed(statistic: Callable, *arrays, rows: int = 4_000, progress: Callable | None = None) -> Any:
    """`statistic` of arrays (n, ...) that need not fit, from blocks of `rows` rows: what it makes of them, added up.

    `arrays` are whatever gives rows for a slice, as numpy.memmap, HDF5, Zarr or Dask arrays do; one block of each is in
    memory at a time, and log2(n / rows) sums. `progress(done, n)` is called with the number of rows after each block.
    Blocks are added up in pairs of equals, so rounding grows with the logarithm of their number.
    Raises as `statistic`, the rows of an error counted from the block's first; TypeError for what has no shape or adds
    up to nothing, ValueError without arrays, rows, or with unequal n.

    >>> import numpy as np
    >>> from repgeo.moments import moments
    >>> x = np.arange(12.0).reshape(6, 2)
    >>> summed(moments, x, x, rows=4).mean_x.tolist()
    [5.0, 6.0]
    """
    rows = checks.count(rows, "rows", low=1, high=2**31)
    if not arrays:
        raise ValueError("arrays: expected at least one; got none")
    for array in arrays:
        if not len(getattr(array, "shape", ())):
            raise TypeError(f"arrays: expected arrays of rows; got {type(array).__name__}")
    n = arrays[0].shape[0]
    if n < 1 or any(array.shape[0] != n for array in arrays):
        raise ValueError(f"arrays: expected as many rows each, at least one; got {[a.shape[0] for a in arrays]}")
    blocks = (tuple(np.asarray(array[i : i + rows]) for array in arrays) for i in range(0, n, rows))
    return _total(statistic, blocks, progress, n)


def summed_stream(statistic: Callable, batches: Iterable, *, progress: Callable | None = None) -> Any:
    """`statistic` of a stream of batches, each a tuple of its arguments (or the one argument), added up as in `summed`.

    `progress(done, None)` is called with the number of rows after each batch. Raises as `statistic`; ValueError for an
    empty stream, TypeError for what is not iterable or adds up to nothing.

    >>> import jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> summed_stream(moments, ((jnp.full((2, 1), i), jnp.ones((2, 1))) for i in range(3))).mean_x.tolist()
    [1.0]
    """
    if not isinstance(batches, Iterable):
        raise TypeError(f"batches: expected an iterable of batches; got {type(batches).__name__}")
    return _total(statistic, (b if isinstance(b, tuple | list) else (b,) for b in batches), progress, None)


def summed_over(mesh: Mesh, statistic: Callable, *arrays) -> Any:
    """`statistic` of arrays (n, ...) whose rows are spread over the devices of `mesh`: each takes its share, then they
    add up, in an all-gather of one sum a device. Every device returns the total.

    The rows that n leaves over are one more batch. Traced like the inside of a jitted function: values are not checked,
    so a NaN makes the sum NaN, which what reads it reports. Raises TypeError for what is no mesh; ValueError without
    arrays, for unequal n and for fewer rows than devices.

    >>> import jax, jax.numpy as jnp
    >>> from repgeo.moments import moments
    >>> mesh = jax.make_mesh((jax.device_count(),), ("rows",))
    >>> x = jnp.arange(12.0).reshape(6, 2)
    >>> summed_over(mesh, moments, x, x).mean_x.tolist()
    [5.0, 6.0]
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a jax.sharding.Mesh; got {type(mesh).__name__}")
    if not arrays or any(len(a) != len(arrays[0]) for a in arrays):
        raise ValueError(f"arrays: expected at least one, of as many rows each; got {[len(a) for a in arrays]}")
    shares = mesh.devices.size
    each = len(arrays[0]) // shares
    if not each:
        raise ValueError(f"arrays: expected a row for each of {shares} devices; got {len(arrays[0])} rows")
    full = [a if each * shares == len(a) else a[: each * shares] for a in arrays]
    placed = jax.device_put(full, NamedSharding(mesh, PartitionSpec(mesh.axis_names)))
    total = _over_devices(mesh, statistic, *placed)
    if each * shares == len(arrays[0]):
        return total
    left = jax.device_put(statistic(*(a[each * shares :] for a in arrays)), NamedSharding(mesh, PartitionSpec()))
    return total + left


def summed_over_processes(total: Any) -> Any:
    """The sum over all processes of a `jax.distributed` job, in each of them, of what each hands in; one is enough.

    A process sums its own files with `summed`, and one all-gather of the sums ends the job, whatever n was.

    >>> import jax.numpy as jnp
    >>> float(summed_over_processes(jnp.ones(())))
    1.0
    """
    if jax.process_count() == 1:
        return total
    from jax.experimental.multihost_utils import process_allgather

    return _added_up(process_allgather(total), jax.process_count())


@partial(jax.jit, static_argnums=(0, 1))
def _over_devices(mesh, statistic, *arrays):
    names = mesh.axis_names

    def of_share(*shares):
        return _added_up(lax.all_gather(statistic(*shares), names), mesh.devices.size)

    # Every device adds up the same sums in the same order, which the compiler cannot know.
    return jax.shard_map(of_share, mesh=mesh, in_specs=PartitionSpec(names), out_specs=PartitionSpec(),
                         check_vma=False)(*arrays)


def _added_up(gathered, count):
    return _pairwise(jax.tree.map(lambda a, i=i: a[i], gathered) for i in range(count))


def _total(statistic, batches, progress, n):
    total = _pairwise(_parts(statistic, batches, progress, n))
    if total is None:
        raise ValueError("batches: expected at least one; got none")
    return total


def _parts(statistic, batches, progress, n) -> Iterator:
    """What the statistic makes of each batch, of which two at most are under way at a time."""
    done, before = 0, None
    for batch in batches:
        part = statistic(*batch)
        if not hasattr(part, "__add__") or isinstance(part, str | tuple | list):
            raise TypeError(f"statistic: expected sums that add up with +; got {type(part).__name__}")
        jax.block_until_ready(before)
        before = part
        done += len(jax.tree.leaves(batch)[0])
        yield part
        if progress is not None:
            progress(done, n)


def _pairwise(parts):
    """The sum of all parts, sums of equally many added up first; None without any."""
    sums = []
    for i, part in enumerate(parts):
        sums.append(part)
        while i & 1:  # as many as the trailing ones of i, the number of sums that are now complete
            sums[-2:] = [sums[-2] + sums[-1]]
            i >>= 1
    return reduce(lambda late, early: add(early, late), reversed(sums)) if sums else None
