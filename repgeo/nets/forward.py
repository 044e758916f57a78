"""What a network is and what it computes: layers, parameters, scores and the activations on the way.

Convolutions are written as patches times a matrix: inside a compiled loop on a CPU this runs about ten times faster
than the built-in convolution, and as fast as a plain matrix product.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

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
    before, layers = (*net.image, 1), []
    for layer, shape in zip(net.layers, widths(net), strict=True):
        key, own = jax.random.split(key)
        fan_in = 9 * before[2] if isinstance(layer, Conv) else int(np.prod(before))
        before = shape
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
    return forward(fitting(params, net), net, as_images(images, net), train)[0]


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


def resume(params: dict, net: Net, kept, *, layer: int) -> Array:
    """Class scores (n, c) when layer `layer` (1 is the first) passes on `kept`, (n, h, w, c) or (n, p).

    `kept` may be what `activations` gave for that layer, or that with something done to it: the layers above and
    the head run as in `apply`, with the stored batch-norm means. Works under jit (`net` and `layer` static), vmap
    and grad. Raises ValueError for a layer that `net` has not, for `kept` of another shape than that layer's
    output, for NaN, and for parameters of another network.

    >>> net = Net("tiny", (Conv(4, stride=2), Dense(5)), image=(6, 6), classes=3)
    >>> params, images = init(jax.random.key(0), net), jnp.ones((2, 6, 6))
    >>> first, _ = activations(params, net, images)
    >>> bool(jnp.allclose(resume(params, net, first, layer=1), apply(params, net, images), atol=1e-5))
    True
    """
    layer = checks.count(layer, "layer", low=1, high=len(net.layers), why="the layers of the network")
    kept, params = checks.floats(kept, "kept"), fitting(params, net)
    want = widths(net)[layer - 1]
    if kept.shape[1:] != want or kept.ndim != 1 + len(want) or len(kept) < 1:
        expected = ", ".join(["n", *map(str, want)])
        raise ValueError(f"kept: expected shape ({expected}), as layer {layer} passes on; got {kept.shape}")
    if checks.is_concrete(kept) and not bool(jnp.isfinite(kept).all()):
        raise ValueError("kept: expected finite values; got NaN or infinity")
    return _onwards(params, net, kept.astype(jnp.float32), False, layer)[0]


def accuracy(params: dict, net: Net, images, labels, *, batch: int = 500) -> float:
    """The share of images (n, h, w) whose largest score is that of their label (n,), in [0, 1].

    Chance is the share of the commonest class. Errors as in `apply`, and as in `train` for the labels.

    >>> net = Net("tiny", (Dense(4),), image=(6, 6), classes=1)
    >>> accuracy(init(jax.random.key(0), net), net, jnp.ones((2, 6, 6)), [0, 0], batch=2)
    1.0
    """
    scores = np.concatenate([scores for scores, _ in _batches(params, net, images, batch)])
    return float((scores.argmax(1) == np.asarray(as_labels(labels, net, len(scores)))).mean())


def calibrate(params: dict, net: Net, images) -> dict:
    """The same parameters, with the batch-norm means and variances that these images (n, h, w) have.

    One pass over a large sample replaces the running averages that other implementations keep during training
    (Wu and Johnson 2021, arXiv:2105.07576). Errors as in `apply`.

    >>> net = Net("tiny", (Dense(4, norm=True),), image=(2, 2))
    >>> params = calibrate(init(jax.random.key(0), net), net, jnp.zeros((3, 2, 2)))
    >>> params["layers"][0]["var"].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    return _calibrate(fitting(params, net), net, as_images(images, net))


def forward(params: dict, net: Net, images: Array, train: bool) -> tuple[Array, list, list]:
    """Scores, the output of every layer, and the mean and variance that each batch norm used."""
    return _onwards(params, net, images[..., None], train, 0)


def _onwards(params: dict, net: Net, x: Array, train: bool, done: int) -> tuple[Array, list, list]:
    """What `forward` returns, from the output `x` of the first `done` layers."""
    kept, used = [], []
    for layer, p in zip(net.layers[done:], params["layers"][done:], strict=True):
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


_evaluate = jax.jit(lambda params, net, images: forward(params, net, images, False)[:2], static_argnums=1)


def _batches(params: dict, net: Net, images, batch: int):
    """Scores and layer outputs, batch by batch, the padding cut off again."""
    params, images = fitting(params, net), np.asarray(as_images(images, net))
    batch = checks.count(batch, "batch", low=1, high=10**7)
    for i in range(0, len(images), batch):
        part = images[i : i + batch]
        padded = np.concatenate([part, np.zeros((batch - len(part), *net.image), part.dtype)])
        scores, kept = _evaluate(params, net, padded)
        yield np.asarray(scores)[: len(part)], [np.asarray(a)[: len(part)] for a in kept]


@functools.partial(jax.jit, static_argnums=1)
def _calibrate(params: dict, net: Net, images: Array) -> dict:
    used = iter(forward(params, net, images, True)[2])
    layers = [p | next(used) if "var" in p else p for p in params["layers"]]
    return params | {"layers": layers}


def widths(net: Net) -> list[tuple[int, ...]]:
    """The shape that each layer passes on for one image: (h, w, c) or (p,)."""
    shape, found = (*net.image, 1), []
    for layer in net.layers:
        if isinstance(layer, Conv):
            shape = (-(-shape[0] // layer.stride), -(-shape[1] // layer.stride), layer.width)
        else:
            shape = (layer.width,)
        found.append(shape)
    return found


def shapes(net: Net) -> dict:
    """The tree of parameters with shapes and dtypes instead of numbers."""
    return jax.eval_shape(lambda key: init(key, net), jax.random.key(0))


def fitting(params: dict, net: Net) -> dict:
    """`params` if they are those of `net`, else a ValueError."""
    want, got = shapes(net), jax.tree.map(jnp.shape, params)
    if jax.tree.map(jnp.shape, want) != got:
        raise ValueError(f"params: expected the parameters of {net}; got shapes {got}")
    return params


def as_images(images, net) -> Array:
    """`images` as finite float32 (n, h, w) of the size that `net` takes, or an error."""
    images = checks.floats(images, "images")
    if images.ndim != 3 or images.shape[1:] != net.image or len(images) < 1:
        raise ValueError(f"images: expected shape (n, {net.image[0]}, {net.image[1]}); got {images.shape}")
    if checks.is_concrete(images) and not bool(jnp.isfinite(images).all()):
        raise ValueError("images: expected finite values; got NaN or infinity")
    return images.astype(jnp.float32)


def as_labels(labels, net: Net, n: int) -> Array:
    """`labels` as `n` integers that `net` has classes for, or an error."""
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels: expected integers; got dtype {labels.dtype}")
    if labels.shape != (n,) or labels.min() < 0 or labels.max() >= net.classes:
        raise ValueError(f"labels: expected {n} integers in 0..{net.classes - 1}; got {labels!r}")
    return jnp.asarray(labels, jnp.int32)
