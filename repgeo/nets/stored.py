"""Parameters as numbers in a file, and back."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from repgeo import checks
from repgeo.nets.forward import Net, shapes


def pack(params: dict) -> np.ndarray:
    """All parameters as one float16 vector: 2 bytes each, about 3 digits; `unpack` reads it.

    Raises ValueError for NaN and for a number too large for float16 (65504).

    >>> from repgeo.nets import MLP, init
    >>> pack(init(jax.random.key(0), MLP)).shape
    (34058,)
    """
    flat = np.asarray(ravel_pytree(params)[0])
    if not (np.abs(flat) < 65504).all():
        raise ValueError("params: expected finite numbers below 65504; got larger ones, or NaN")
    return flat.astype(np.float16)


def unpack(vector, net: Net) -> dict:
    """The parameters (float32) of `net` that `pack` wrote into a vector; ValueError for another length.

    >>> from repgeo.nets import MLP, init
    >>> params = unpack(pack(init(jax.random.key(0), MLP)), MLP)
    >>> params["layers"][0]["weight"].shape
    (196, 64)
    """
    flat, back = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes(net)))
    vector = checks.floats(np.asarray(vector, np.float32), "vector")
    if vector.shape != flat.shape:
        raise ValueError(f"vector: expected {flat.size} parameters of {net.name!r}; got shape {vector.shape}")
    return back(vector.astype(flat.dtype))


def saved(dataset, net: Net, seed: int, *, step: int | None = None) -> dict:
    """The parameters of `net` at the end of the stored run with this seed, or after `step` steps of it.

    `dataset` is `datasets.load("runs_cnn")` or its like: "weights" (seeds, parameters) and "seeds", and for
    earlier steps "early" (early seeds, early steps, parameters), of the first seeds, and "early_steps". Raises
    ValueError for a seed or a step that is not stored, listing those that are, and for another network's weights.

    >>> from repgeo.nets import MLP
    >>> params = saved({"weights": np.zeros((1, 34058), np.float16), "seeds": np.array([7])}, MLP, 7)
    >>> params["head"]["bias"].shape
    (10,)
    """
    seeds, weights = dataset["seeds"].tolist(), dataset["weights"]
    if step is not None:
        steps, weights = dataset["early_steps"].tolist(), dataset["early"]
        seeds = seeds[: len(weights)]
        if step not in steps:
            raise ValueError(f"step: expected one of {steps}, or None for the end; got {step}")
        weights = weights[:, steps.index(step)]
    if seed not in seeds:
        raise ValueError(f"seed: expected one of {seeds}; got {seed}")
    return unpack(weights[seeds.index(seed)], net)
