"""Joint-embedding self-supervised training: many small networks at once, all on the same two views of each image.

An encoder makes the representation that is used afterwards, a projector the embedding that the loss is taken of. The
networks of one call differ in initialisation and in the weights of the loss; views and batches are made once for all.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from repgeo import checks
from repgeo.nets.forward import as_images
from repgeo.nets.training import _order


@dataclass(frozen=True)
class JointNet:
    """An encoder and a projector in words: the widths of their dense layers, and the image shape (h, w).

    ReLU follows every layer but the projector's last. Representations are as wide as the encoder's last layer,
    embeddings as the projector's. Raises TypeError or ValueError for no layer, and for a width that is no count.

    >>> JointNet(encoder=(32, 16), projector=(8,)).encoder[-1]
    16
    """

    encoder: tuple[int, ...] = (256, 128)
    projector: tuple[int, ...] = (128, 128)
    image: tuple[int, int] = (14, 14)

    def __post_init__(self):
        for name in ("encoder", "projector", "image"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least one width; got none")
            for width in getattr(self, name):
                checks.count(width, name, low=1, high=10**6)


@dataclass(frozen=True)
class Augment:
    """How a view differs from its image; 0 or False leaves a change out.

    Moved by up to `shift` pixels each way; flipped sideways half of the times if `flip`; brightness above the darkest
    value times 1 +- `contrast`; a square of side `cutout` darkened; normal `noise` of that standard deviation.

    >>> Augment(cutout=0).shift
    2
    """

    shift: int = 2
    flip: bool = True
    contrast: float = 0.5
    cutout: int = 5
    noise: float = 0.2

    def __post_init__(self):
        for name in ("shift", "cutout"):
            checks.count(getattr(self, name), name, low=0, high=10**4)
        checks.real(self.contrast, "contrast", low=0, high=1)
        checks.real(self.noise, "noise", low=0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class JointRun:
    """What `train_joint` returns: parameters, every leaf with a leading axis of m networks, and losses (m, steps)."""

    params: dict
    losses: Array


def augmented(key: Array, images, augment: Augment) -> Array:
    """A view (n, h, w) of each image (n, h, w), changed at random as `augment` says, each image on its own.

    What moves in and what is cut out takes the darkest value of all images. Works under jit and vmap (`augment`
    static). Raises ValueError for another shape, NaN, or a shift or a cutout as large as an image.

    >>> view = augmented(jax.random.key(0), jnp.ones((2, 8, 8)), Augment(noise=0, contrast=0))
    >>> view.shape, float(view.min()), float(view.max())
    ((2, 8, 8), 1.0, 1.0)
    """
    images = checks.floats(images, "images")
    if images.ndim != 3 or len(images) < 1:
        raise ValueError(f"images: expected shape (n, h, w); got {images.shape}")
    if checks.is_concrete(images) and not bool(jnp.isfinite(images).all()):
        raise ValueError("images: expected finite values; got NaN or infinity")
    side = min(images.shape[1:])
    checks.count(augment.shift, "shift", low=0, high=side - 1, why="less than the image")
    checks.count(augment.cutout, "cutout", low=0, high=side - 1, why="less than the image")
    return _augmented(key, images, augment)


def init_joint(key: Array, net: JointNet) -> dict:
    """Fresh parameters of `net`: normal weights of variance 2 / fan-in (the last layer 1 / fan-in), biases 0.

    Returns {"encoder": [{"weight" (p, q), "bias" (q,)}, ...], "projector": [...]}. Works under jit and vmap.

    >>> params = init_joint(jax.random.key(0), JointNet(encoder=(32,), projector=(8, 4)))
    >>> params["encoder"][0]["weight"].shape, len(params["projector"])
    ((196, 32), 2)
    """
    widths = (int(np.prod(net.image)), *net.encoder, *net.projector)
    layers = []
    for i, (p, q) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        gain = 1 if i == len(widths) - 2 else 2
        weight = jax.random.normal(jax.random.fold_in(key, i), (p, q)) * (gain / p) ** 0.5
        layers.append({"weight": weight, "bias": jnp.zeros(q)})
    return {"encoder": layers[: len(net.encoder)], "projector": layers[len(net.encoder) :]}


def embed(params: dict, net: JointNet, images) -> tuple[Array, Array]:
    """Representations (n, p) and embeddings (n, q) of images (n, h, w), by the parameters of one network.

    Rows are independent of each other. Works under jit, vmap (over parameters too) and grad (`net` static). Raises
    ValueError for images of another shape, NaN, and parameters of another network.

    >>> net = JointNet(encoder=(32,), projector=(8, 4))
    >>> h, z = embed(init_joint(jax.random.key(0), net), net, jnp.ones((3, 14, 14)))
    >>> h.shape, z.shape
    ((3, 32), (3, 4))
    """
    images = as_images(images, net)
    want = jax.eval_shape(lambda key: init_joint(key, net), jax.random.key(0))
    got, want = jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, want)
    if got != want:
        raise ValueError(f"params: expected the parameters of one {net}; got shapes {got}")
    return _embed(params, images)


def train_joint(
    key: Array, net: JointNet, images, *, loss: Callable, settings: Mapping, learning_rate, weight_decay=0.0,
    steps: int, batch: int = 256, augment: Augment = Augment(),
) -> JointRun:
    """A `JointRun` of m networks, each from its own initialisation, trained on two views of images (n, h, w).

    `loss(z, w, **weights)` is `vicreg_loss`, `barlow_twins_loss`, `simclr_loss` or another of that form, and `settings`
    gives each weight by name as (m,) numbers, network i taking the i-th; `learning_rate` and `weight_decay` are (m,) or
    one number for all. AdamW, the decay on weights alone; the rate rises for a tenth of the steps and falls to 0 by a
    cosine; every epoch is a new permutation. Network i starts from `init_joint(fold_in(key, i), net)` and sees the same
    views as the others, so it ends the same, up to rounding, in any company. One compiled loop for a loss, m and steps.
    Raises ValueError or TypeError for images that do not fit, settings that are not m numbers, batch > n, batch < 2 or
    steps < 1, and, naming the networks, when a loss is not finite any more.

    >>> from repgeo.nets import simclr_loss
    >>> net = JointNet(encoder=(4,), projector=(3,), image=(4, 4))
    >>> images = jax.random.normal(jax.random.key(0), (8, 4, 4))
    >>> run = train_joint(jax.random.key(1), net, images, loss=simclr_loss, settings={"temperature": [0.1, 0.5]},
    ...                   learning_rate=1e-3, steps=3, batch=4, augment=Augment(shift=1, cutout=2))
    >>> run.losses.shape, run.params["encoder"][0]["weight"].shape
    ((2, 3), (2, 16, 4))
    """
    images = as_images(images, net)
    steps = checks.count(steps, "steps", low=1, high=10**7)
    batch = checks.count(batch, "batch", low=2, high=len(images), why="at most one epoch")
    augmented(key, images[:1], augment)  # its errors, before the loop is compiled
    if not settings:
        raise ValueError("settings: expected at least one weight of the loss, with a number for each network; got none")
    settings = {name: checks.floats(value, name) for name, value in settings.items()}
    m = max((value.size for value in settings.values()), default=1)
    given = settings | {"learning_rate": _spread(learning_rate, m), "weight_decay": _spread(weight_decay, m)}
    for name, value in given.items():
        if value.shape != (m,) or m < 1 or not bool(jnp.isfinite(value).all()) or bool((value < 0).any()):
            raise ValueError(f"{name}: expected {m} finite numbers >= 0, one a network; got {value}")
    order = _order(jax.random.fold_in(key, 2**31 - 1), len(images), batch, steps)
    rates = (given["learning_rate"], given["weight_decay"])
    params, losses = _train(net, loss, augment, key, images, order, settings, rates)
    bad = np.flatnonzero(~np.isfinite(np.asarray(losses)).all(1))
    if len(bad):
        raise ValueError(f"the loss of networks {bad.tolist()} is not finite any more: lower their learning_rate")
    return JointRun(params, losses)


def _spread(value, m: int) -> Array:
    value = checks.floats(value, "learning_rate and weight_decay")
    return jnp.broadcast_to(value, (m,)) if value.ndim == 0 else value


@jax.jit
def _embed(params: dict, images: Array) -> tuple[Array, Array]:
    x = images.reshape(len(images), -1)
    for p in params["encoder"]:
        x = jax.nn.relu(x @ p["weight"] + p["bias"][None])
    h = x
    for p in params["projector"][:-1]:
        x = jax.nn.relu(x @ p["weight"] + p["bias"][None])
    last = params["projector"][-1]
    return h, x @ last["weight"] + last["bias"][None]


@functools.partial(jax.jit, static_argnums=2)
def _augmented(key: Array, images: Array, augment: Augment) -> Array:
    n, h, w = images.shape
    move, flip, bright, cut, noise = jax.random.split(key, 5)
    dark, x = images.min(), images
    if augment.shift:
        s = augment.shift
        at = jax.random.randint(move, (n, 2), 0, 2 * s + 1)
        x = jnp.pad(x, ((0, 0), (s, s), (s, s)), constant_values=dark)
        x = jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1]), (h, w)))(x, at)
    if augment.flip:
        x = jnp.where(jax.random.bernoulli(flip, 0.5, (n, 1, 1)), x[:, :, ::-1], x)
    if augment.contrast:
        c = augment.contrast
        x = dark + (x - dark) * jax.random.uniform(bright, (n, 1, 1), minval=1 - c, maxval=1 + c)
    if augment.cutout:
        side = augment.cutout
        inside = []
        for k, d in zip(jax.random.split(cut), (h, w), strict=True):
            place = jnp.arange(d)[None] - jax.random.randint(k, (n, 1), 0, d - side + 1)
            inside.append((place >= 0) & (place < side))
        x = jnp.where(inside[0][:, :, None] & inside[1][:, None, :], dark, x)
    return x + augment.noise * jax.random.normal(noise, x.shape) if augment.noise else x


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _train(net, loss, augment, key, images, order, settings, rates):
    """Parameters of all networks after the last step and their losses (m, steps)."""
    steps, m = len(order), len(rates[0])
    adam = optax.scale_by_adam()
    shape = optax.warmup_cosine_decay_schedule(0.1, 1.0, steps // 10, steps)

    def start(i):
        params = init_joint(jax.random.fold_in(key, i), net)
        return params, adam.init(params)

    def update(state, settings, rate, decay, share, views):
        params, moments = state

        def objective(params):
            return loss(*(_embed(params, view)[1] for view in views), **settings)

        value, gradient = jax.value_and_grad(objective)(params)
        updates, moments = adam.update(gradient, moments)
        rate = rate * share
        params = jax.tree.map(lambda p, u: p - rate * (u + decay * p if p.ndim == 2 else u), params, updates)
        return (params, moments), value

    def step(state, now):
        i, rows = now
        keys = jax.random.split(jax.random.fold_in(key, i + 2**30))
        views = [_augmented(k, images[rows], augment) for k in keys]  # made once, outside the vmap
        return jax.vmap(update, in_axes=(0, 0, 0, 0, None, None))(state, settings, *rates, shape(i), views)

    state = jax.vmap(start)(jnp.arange(m))
    (params, _), losses = jax.lax.scan(step, state, (jnp.arange(steps), order))
    return params, losses.T
