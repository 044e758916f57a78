"""Small networks and their training: three architectures, a few seconds a seed on one CPU core.

A `Net` is a frozen description, its parameters are a plain tree of arrays, and everything else is a function
of the two. Convolutions are written as patches times a matrix: inside a compiled loop on a CPU this runs about
ten times faster than the built-in convolution, and as fast as a plain matrix product.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from repgeo import checks


@dataclass(frozen=True)
class Conv:
    """A zero-padded 3 x 3 convolution to `width` channels, batch norm if `norm`, then bias and ReLU."""

    width: int
    stride: int = 1
    norm: bool = False


@dataclass(frozen=True)
class Dense:
    """A fully connected layer to `width` units (input flattened), batch norm if `norm`, then bias and ReLU."""

    width: int
    norm: bool = False


@dataclass(frozen=True)
class Net:
    """A network in words: its layers in order, the image shape (h, w) and the number of classes.

    A linear head follows the last layer, after a mean over space if that layer is a convolution. Raises
    ValueError when a `Conv` follows a `Dense` and when there is no layer.

    >>> Net("tiny", (Conv(4, stride=2), Conv(8)), image=(6, 6), classes=3).layers[0].width
    4
    """

    name: str
    layers: tuple[Conv | Dense, ...]
    image: tuple[int, int] = (14, 14)
    classes: int = 10

    def __post_init__(self):
        if not self.layers or not all(isinstance(layer, Conv | Dense) for layer in self.layers):
            raise ValueError(f"layers: expected at least one Conv or Dense; got {self.layers}")
        kinds = [isinstance(layer, Conv) for layer in self.layers]
        if kinds != sorted(kinds, reverse=True):
            raise ValueError(f"layers: expected every Conv before the first Dense; got {self.layers}")


# Width grows and space shrinks with depth: here corresponding layers are found again across seeds.
CNN = Net("cnn", (Conv(16, 1, True), *(Conv(width, 2, True) for width in (32, 48, 64, 96))))
# Two negative controls, in which all layers have one size and only training tells them apart.
MLP = Net("mlp", (Dense(64),) * 6)
NARROW = Net("narrow", (Conv(16, 2),) + (Conv(16),) * 7)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Run:
    """What `train` returns: final parameters, parameters after the requested steps, the loss at each step."""

    params: dict
    snapshots: dict[int, dict]
    losses: Array


def prepare(images, *others) -> tuple[np.ndarray, ...]:
    """Grey images (n, 28, 28) as float32 (n, 14, 14): means of 2 x 2 pixels, standardised; one array a set.

    The mean and the standard deviation, over all pixels, are those of the first set: put the training images
    there. Height and width may be any even numbers. Raises ValueError for another shape, for NaN and for a
    first set without variance; TypeError for a dtype that is not numeric.

    >>> train, test = prepare(np.arange(32).reshape(2, 4, 4), np.zeros((1, 4, 4), np.uint8))
    >>> train.shape, round(float(train.mean()), 5), test.shape
    ((2, 2, 2), 0.0, (1, 2, 2))
    """
    pooled = []
    for a in (images, *others):
        a = np.asarray(checks.floats(a, "images"))
        if a.ndim != 3 or len(a) < 1 or a.shape[1] % 2 or a.shape[2] % 2 or 0 in a.shape:
            raise ValueError(f"images: expected (n, h, w) with even h and w; got shape {a.shape}")
        if not np.isfinite(a).all():
            raise ValueError("images: expected finite values; got NaN or infinity")
        n, h, w = a.shape
        pooled.append(a.reshape(n, h // 2, 2, w // 2, 2).mean((2, 4)))
    centre, spread = pooled[0].mean(dtype=float), pooled[0].std(dtype=float)
    if not spread > 0:
        raise ValueError("images: expected pixels that differ; got a constant first set")
    return tuple(((a - centre) / spread).astype(np.float32) for a in pooled)


@functools.partial(jax.jit, static_argnums=1)
def init(key: Array, net: Net) -> dict:
    """Fresh parameters of `net`: normal weights of variance 2 / fan-in (He et al. 2015), in the head 1 / fan-in.

    Returns {"layers": [{"weight", "bias", and with batch norm "gain", "mean", "var"}, ...], "head": {...}}.
    The mean and variance are 0 and 1 until `calibrate` measures them.

    >>> params = init(jax.random.key(0), MLP)
    >>> len(params["layers"]), params["head"]["weight"].shape
    (6, (64, 10))
    """
    shape, layers = (*net.image, 1), []
    for layer in net.layers:
        key, own = jax.random.split(key)
        if isinstance(layer, Conv):
            fan_in = 9 * shape[2]
            shape = (-(-shape[0] // layer.stride), -(-shape[1] // layer.stride), layer.width)
        else:
            fan_in, shape = int(np.prod(shape)), (layer.width,)
        weight = jax.random.normal(own, (fan_in, layer.width)) * (2 / fan_in) ** 0.5
        zeros, ones = jnp.zeros(layer.width), jnp.ones(layer.width)
        norm = {"gain": ones, "mean": zeros, "var": ones} if layer.norm else {}
        layers.append({"weight": weight, "bias": zeros} | norm)
    weight = jax.random.normal(key, (shape[-1], net.classes)) * shape[-1] ** -0.5
    return {"layers": layers, "head": {"weight": weight, "bias": jnp.zeros(net.classes)}}


def apply(params: dict, net: Net, images, *, train: bool = False) -> Array:
    """Class scores (n, c), before the softmax, of images (n, h, w).

    With `train`, batch norm uses the mean and variance of these images, else those that `calibrate` stored;
    rows are independent of each other only in the second case. Works under jit, vmap and grad (`net` and
    `train` are static). Raises ValueError for images of another shape, for NaN, and for parameters of another
    network.

    >>> net = Net("tiny", (Conv(4),), image=(6, 6), classes=3)
    >>> apply(init(jax.random.key(0), net), net, jnp.ones((2, 6, 6))).shape
    (2, 3)
    """
    return _forward(_fitting(params, net), net, _images(images, net), train)[0]


def activations(params: dict, net: Net, images, *, batch: int = 500) -> list[np.ndarray]:
    """What each layer passes on, after its ReLU: one array (n, h, w, c) or (n, p) a layer, float32.

    Computed `batch` images at a time (the last batch is padded), with one compilation for any n. Batch norm
    uses the stored mean and variance. Errors as in `apply`.

    >>> net = Net("tiny", (Conv(4, stride=2), Dense(5)), image=(6, 6))
    >>> [a.shape for a in activations(init(jax.random.key(0), net), net, jnp.ones((2, 6, 6)), batch=2)]
    [(2, 3, 3, 4), (2, 5)]
    """
    parts = [kept for _, kept in _batches(params, net, images, batch)]
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def accuracy(params: dict, net: Net, images, labels, *, batch: int = 500) -> float:
    """The share of images (n, h, w) whose largest score is that of their label (n,), in [0, 1].

    Chance is the share of the commonest class. Errors as in `apply`, and as in `train` for the labels.

    >>> net = Net("tiny", (Dense(4),), image=(6, 6), classes=1)
    >>> accuracy(init(jax.random.key(0), net), net, jnp.ones((2, 6, 6)), [0, 0], batch=2)
    1.0
    """
    scores = np.concatenate([scores for scores, _ in _batches(params, net, images, batch)])
    return float((scores.argmax(1) == np.asarray(_labels(labels, net, len(scores)))).mean())


def calibrate(params: dict, net: Net, images) -> dict:
    """The same parameters, with the batch-norm means and variances that these images (n, h, w) have.

    One pass over a large sample replaces the running averages that other implementations keep during training
    (Wu and Johnson 2021, arXiv:2105.07576). Errors as in `apply`.

    >>> net = Net("tiny", (Dense(4, norm=True),), image=(2, 2))
    >>> params = calibrate(init(jax.random.key(0), net), net, jnp.zeros((3, 2, 2)))
    >>> params["layers"][0]["var"].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    return _calibrate(_fitting(params, net), net, _images(images, net))


def train(
    key: Array, net: Net, images, labels, *, steps: int, batch: int = 64, learning_rate: float = 3e-3, snapshots=()
) -> Run:
    """A `Run` of `net`, from `init(key, net)`, trained on images (n, h, w) with integer labels (n,).

    Adam on the cross-entropy, the rate rising for a tenth of the steps to `learning_rate` and falling to 0 by
    a cosine; every epoch is a new permutation, its incomplete last batch left out. `snapshots` lists steps in
    [0, steps] whose parameters are kept (0: before any training). All parameters in the result are calibrated
    on the first 2000 images. The same arguments give the same parameters on one machine with one number of
    threads; elsewhere rounding differs and grows over the steps. One compiled loop serves all seeds and
    snapshots (train seeds in a Python loop) and is compiled anew when shapes, steps or rate change. Raises
    ValueError or TypeError for images or labels that do not fit `net`, batch > n, steps < 1, and when the loss
    becomes NaN.

    >>> net = Net("tiny", (Dense(4),), image=(2, 2), classes=2)
    >>> images = jnp.ones((8, 2, 2)) * jnp.arange(8.0).reshape(-1, 1, 1)
    >>> run = train(jax.random.key(0), net, images, [0, 1] * 4, steps=3, batch=4, snapshots=(0, 3))
    >>> run.losses.shape, sorted(run.snapshots)
    ((3,), [0, 3])
    """
    images = _images(images, net)
    labels = _labels(labels, net, len(images))
    steps = checks.count(steps, "steps", low=1, high=10**7)
    batch = checks.count(batch, "batch", low=1, high=len(images), why="at most one epoch")
    rate = checks.real(learning_rate, "learning_rate", low=0, open_low=True)
    stops = sorted({checks.count(step, "snapshots", low=0, high=steps) for step in snapshots} | {steps})
    params = init(key, net)
    order = _order(jax.random.fold_in(key, 1), len(images), batch, steps)
    state = (params, _optimiser(rate, steps).init(params), jnp.zeros(steps))
    seen, done = {}, 0
    for stop in stops:
        state = _advance(net, rate, state, (done, stop), images, labels, order)
        seen[stop] = calibrate(state[0], net, images[:2000])
        done = stop
    if not np.isfinite(np.asarray(state[2])).all():
        raise ValueError(f"the loss is not finite any more: lower learning_rate; got {learning_rate}")
    return Run(seen[steps], {step: seen[step] for step in snapshots}, state[2])


def pack(params: dict) -> np.ndarray:
    """All parameters as one float16 vector: 2 bytes each, about 3 digits; `unpack` reads it.

    Raises ValueError for NaN and for a number too large for float16 (65504).

    >>> pack(init(jax.random.key(0), MLP)).shape
    (34058,)
    """
    flat = np.asarray(ravel_pytree(params)[0])
    if not (np.abs(flat) < 65504).all():
        raise ValueError("params: expected finite numbers below 65504; got larger ones, or NaN")
    return flat.astype(np.float16)


def unpack(vector, net: Net) -> dict:
    """The parameters (float32) of `net` that `pack` wrote into a vector; ValueError for another length.

    >>> params = unpack(pack(init(jax.random.key(0), MLP)), MLP)
    >>> params["layers"][0]["weight"].shape
    (196, 64)
    """
    flat, back = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), _shapes(net)))
    vector = checks.floats(np.asarray(vector, np.float32), "vector")
    if vector.shape != flat.shape:
        raise ValueError(f"vector: expected {flat.size} parameters of {net.name!r}; got shape {vector.shape}")
    return back(vector.astype(flat.dtype))


def saved(dataset, net: Net, seed: int, *, step: int | None = None) -> dict:
    """The parameters of `net` at the end of the stored run with this seed, or after `step` steps of it.

    `dataset` is `datasets.load("runs_cnn")` or its like: "weights" (seeds, parameters) and "seeds", and for
    earlier steps "early" (early seeds, early steps, parameters), of the first seeds, and "early_steps". Raises
    ValueError for a seed or a step that is not stored, listing those that are, and for another network's weights.

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


def _forward(params: dict, net: Net, images: Array, train: bool) -> tuple[Array, list, list]:
    """Scores, the output of every layer, and the mean and variance that each batch norm used."""
    x, kept, used = images[..., None], [], []
    for layer, p in zip(net.layers, params["layers"], strict=True):
        x = _patches(x, layer.stride) if isinstance(layer, Conv) else x.reshape(len(x), -1)
        shape = (*x.shape[:-1], layer.width)
        x = x.reshape(-1, x.shape[-1]) @ p["weight"]  # (n h w, c) or (n, p)
        if layer.norm:
            mean, var = (x.mean(0), x.var(0)) if train else (p["mean"], p["var"])
            used.append({"mean": mean, "var": var})
            x = (x - mean[None]) * (p["gain"] * jax.lax.rsqrt(var + 1e-5))[None]
        x = jax.nn.relu(x + p["bias"][None]).reshape(shape)
        kept.append(x)
    x = x.mean((1, 2)) if x.ndim == 4 else x
    return x @ params["head"]["weight"] + params["head"]["bias"][None], kept, used


def _patches(x: Array, stride: int) -> Array:
    """The 3 x 3 neighbourhoods of every `stride`-th pixel, in the last axis: (n, h', w', 9 c)."""
    _, h, w, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate([x[:, i : i + h : stride, j : j + w : stride] for i in range(3) for j in range(3)], -1)


_evaluate = jax.jit(lambda params, net, images: _forward(params, net, images, False)[:2], static_argnums=1)


def _batches(params: dict, net: Net, images, batch: int):
    """Scores and layer outputs, batch by batch, the padding cut off again."""
    params, images = _fitting(params, net), np.asarray(_images(images, net))
    batch = checks.count(batch, "batch", low=1, high=10**7)
    for i in range(0, len(images), batch):
        part = images[i : i + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), *net.image), part.dtype)])
        scores, kept = _evaluate(params, net, padded)
        yield np.asarray(scores)[: len(part)], [np.asarray(a)[: len(part)] for a in kept]


@functools.partial(jax.jit, static_argnums=1)
def _calibrate(params: dict, net: Net, images: Array) -> dict:
    used = iter(_forward(params, net, images, True)[2])
    layers = [p | next(used) if "var" in p else p for p in params["layers"]]
    return params | {"layers": layers}


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _order(key: Array, n: int, batch: int, steps: int) -> Array:
    """The rows of each step's batch, (steps, batch)."""
    whole = n // batch
    epochs = jax.lax.map(lambda k: jax.random.permutation(k, n), jax.random.split(key, -(-steps // whole)))
    return epochs[:, : whole * batch].reshape(-1, batch)[:steps]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance(net: Net, rate: float, state, span, images, labels, order):
    """Parameters, optimiser state and losses after the steps span[0] to span[1] (traced: one compilation)."""
    optimiser = _optimiser(rate, len(order))

    def loss(params, rows):
        scores = _forward(params, net, images[rows], True)[0]
        return optax.softmax_cross_entropy_with_integer_labels(scores, labels[rows]).mean()

    def step(i, state):
        params, moments, losses = state
        value, gradient = jax.value_and_grad(loss)(params, order[i])
        updates, moments = optimiser.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, losses.at[i].set(value)

    return jax.lax.fori_loop(*span, step, state)


def _optimiser(rate: float, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.warmup_cosine_decay_schedule(rate / 10, rate, steps // 10, steps))


def _shapes(net: Net) -> dict:
    return jax.eval_shape(lambda key: init(key, net), jax.random.key(0))


def _fitting(params: dict, net: Net) -> dict:
    want, got = _shapes(net), jax.tree.map(jnp.shape, params)
    if jax.tree.map(jnp.shape, want) != got:
        raise ValueError(f"params: expected the parameters of {net}; got shapes {got}")
    return params


def _images(images, net: Net) -> Array:
    images = checks.floats(images, "images")
    if images.ndim != 3 or images.shape[1:] != net.image or len(images) < 1:
        raise ValueError(f"images: expected shape (n, {net.image[0]}, {net.image[1]}); got {images.shape}")
    if checks.is_concrete(images) and not bool(jnp.isfinite(images).all()):
        raise ValueError("images: expected finite values; got NaN or infinity")
    return images.astype(jnp.float32)


def _labels(labels, net: Net, n: int) -> Array:
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: expected integers; got dtype {labels.dtype}")
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= net.classes:
        raise ValueError(f"labels: expected {n} integers in 0..{net.classes - 1}; got {labels!r}")
    return jnp.asarray(labels, jnp.int32)
