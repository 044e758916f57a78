"""vec2vec: two embedding spaces translated by networks that never see a pair.

Each space has an adapter into a common latent space and one out of it; what lies between is shared. Four kinds of
losses hold them: a row must be rebuilt in its own space, come back from a round trip, keep its similarities to the
other rows of its batch, and critics must not tell a translated row from a real one, nor the latents of the spaces.
Needs optax (the extra `notebooks`), and is therefore imported by name: `from repgeo.align import vec2vec`.

At the published size (a million texts a side, width 1024) a pair takes GPU-days, and runs with other seeds may fail:
on a CPU this is for toys and for ablations. The linear `unpaired_align` is another method and no substitute for it.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from repgeo import checks

TERMS = ("reconstruction", "geometry", "cycle", "cycle_geometry", "adversarial", "latent", "critics")


@dataclass(frozen=True)
class Weights:
    """What each loss of the translator counts; 0 leaves it out. The defaults are the published ones."""

    reconstruction: float = 1.0
    geometry: float = 1.0
    cycle: float = 10.0
    cycle_geometry: float = 10.0
    adversarial: float = 1.0
    latent: float = 1.0


@dataclass(frozen=True)
class Settings:
    """Sizes and rates; the defaults are the published ones (width 1024), far too large for a toy.

    `adapter_depth`, `backbone_depth` and `critic_depth` count the linear layers, `warmup` the steps over which both
    rates rise from 0.
    """

    width: int = 1024
    adapter_depth: int = 3
    backbone_depth: int = 4
    critic_depth: int = 5
    rate: float = 2e-5
    critic_rate: float = 1e-5
    batch: int = 256
    warmup: int = 2000
    weights: Weights = field(default_factory=Weights)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Translator:
    """What `fit` returns; a pytree.

    params: the networks; moments: mean and variance of every normalised layer, for each way from space to space;
    losses (steps, 7): the terms of `TERMS` at each step, before they are weighted.
    """

    params: dict
    moments: dict
    losses: Array

    def translate(self, z, *, source: str, target: str) -> Array:
        """Rows of z (n, p of source), whatever their length, as unit rows (n, p of target); a row at a time or many.

        `source` and `target` are "x" or "y"; from a space to itself is the reconstruction. Raises ValueError for
        another name or width, and for rows of zeros.
        """
        checks.choice(source, "source", ("x", "y"))
        checks.choice(target, "target", ("x", "y"))
        z = checks.matrix(z, "z", at_least=1, may_be_constant=True)
        width = self.params["into"][source]["first"]["weight"].shape[0]
        if z.shape[1] != width:
            raise ValueError(f"z: expected the {width} features of space {source!r}; got shape {z.shape}")
        return _translated(self.params, self.moments[source + target], _rows(z, "z"), source, target)


def fit(x, y, *, key: Array, steps: int, settings: Settings | None = None, checkpoint=None, every: int = 1000,
        progress: bool = False) -> Translator:  # fmt: skip
    """A `Translator` between the spaces of x (n, p) and y (m, q), whose rows need not come from the same texts.

    Rows are scaled to length 1. Each step draws a batch of rows from both sides (with replacement), moves the critics
    (least-squares GAN) and then the translator (Adam, beta 0.5 and 0.999). Steps, not epochs: the published runs make
    at least 80 epochs. With `checkpoint`, a file, the state is written there every `every` steps, to a temporary name
    first, and a run that finds the file goes on from it, to the same result; the file holds arrays and text, no pickle.
    `progress` shows a bar (tqdm). The result depends on the key: show several, and count failures.

    Where the descriptions leave room: the first leg of a cycle is held fixed, so that only the way back learns from it;
    `geometry` compares inner products within a batch before and after translation, `cycle_geometry` before and after a
    round trip, there also with the rows themselves; the latent critic is asked which space a latent came from.
    Batch normalisation uses the batch in training, and in `translate` the moments of 4096 training rows on that way.

    Cost: O(batch width (width + p + q) + batch^2 (p + q)) a step. Raises ValueError or TypeError as `checks.matrix`,
    for rows of zeros, sizes or rates out of range, a batch larger than x or y, a checkpoint of other data, settings or
    key, and when a loss is not finite. Source: Jha, Zhang, Shmatikov and Morris 2025.

    >>> x = jax.random.normal(jax.random.key(0), (40, 3))
    >>> small = Settings(width=8, batch=16, warmup=2)
    >>> found = fit(x, x[:, :2], key=jax.random.key(1), steps=4, settings=small)
    >>> found.translate(x[:5], source="x", target="y").shape, found.losses.shape
    ((5, 2), (4, 7))
    """
    x, y = (_rows(checks.matrix(a, name, at_least=4), name) for a, name in ((x, "x"), (y, "y")))
    settings = _checked(settings or Settings(), min(len(x), len(y)))
    steps = checks.count(steps, "steps", low=1, high=10**9)
    every = checks.count(every, "every", low=1, high=10**9)
    state, done = _begun(key, x.shape[1], y.shape[1], settings), 0
    losses = np.zeros((steps, len(TERMS)), np.float32)
    what = _identity(x, y, key, settings)
    if checkpoint is not None and Path(checkpoint).exists():
        state, kept, done = _resumed(Path(checkpoint), state, what)
        if done > steps:
            raise ValueError(f"steps: expected at least the {done} that {checkpoint} has done; got {steps}")
        losses[:done] = kept
    bar = _bar(steps, done) if progress else None
    while done < steps:
        stop = min(steps, (done // every + 1) * every)
        state, new = _advance(settings, state, jnp.arange(done, stop), x, y, key)
        losses[done:stop] = new
        if not np.isfinite(losses[done:stop]).all():
            raise ValueError(f"a loss is not finite after step {done}: lower settings.rate or critic_rate")
        if checkpoint is not None:
            _keep(Path(checkpoint), state, losses[:stop], what)
        if bar is not None:
            bar.update(stop - done)
            bar.set_postfix({name: f"{value:.3f}" for name, value in zip(TERMS, losses[stop - 1], strict=True)})
        done = stop
    if bar is not None:
        bar.close()
    params = state["params"]
    ways = {a + b: _path(params, z[:4096], a, b)[1] for a, z in (("x", x), ("y", y)) for b in "xy"}
    return Translator(params, ways, jnp.asarray(losses))


def losses(params: dict, critics: dict, x: Array, y: Array) -> dict[str, Array]:
    """The terms that the translator lowers, before they are weighted, for one batch of unit rows x and y of one length.

    Each is a sum over both spaces. `adversarial` and `latent` are 0 where the critics are deceived.
    """
    real, turned = {"x": x, "y": y}, {"x": "y", "y": "x"}
    latents = {s: _latent(params, real[s], s) for s in "xy"}
    own = {s: _out(params, latents[s], s) for s in "xy"}
    other = {s: _out(params, latents[turned[s]], s) for s in "xy"}
    held = {s: jax.lax.stop_gradient(other[s]) for s in "xy"}
    back = {s: _out(params, _latent(params, held[turned[s]], turned[s]), s) for s in "xy"}
    said = {space: _network(critics[space], other[space])[0] for space in "xy"}
    guessed = {space: _network(critics["latent"], latents[space])[0] for space in "xy"}
    return {
        "reconstruction": sum(_apart(real[s], own[s]) for s in "xy"),
        "geometry": sum(_bent(real[s], other[turned[s]]) for s in "xy"),
        "cycle": sum(_apart(real[s], back[s]) for s in "xy"),
        "cycle_geometry": sum(_bent(real[s], back[s]) + jnp.abs(real[s] @ real[s].T - back[s] @ real[s].T).mean()
                              for s in "xy"),
        "adversarial": sum(((said[s] - 1) ** 2).mean() for s in "xy"),
        "latent": (guessed["x"] ** 2).mean() + ((guessed["y"] - 1) ** 2).mean(),
    }  # fmt: skip


def _critics_loss(critics: dict, params: dict, x: Array, y: Array) -> Array:
    """What the critics lower: 1 for a real row and 0 for a translated one, 1 for a latent of x and 0 for one of y."""
    total = 0.0
    for source, target, z, real in (("x", "y", x, y), ("y", "x", y, x)):
        latent = _latent(params, z, source)
        total += ((_network(critics[target], real)[0] - 1) ** 2).mean()
        total += (_network(critics[target], _out(params, latent, target))[0] ** 2).mean()
        total += ((_network(critics["latent"], latent)[0] - (source == "x")) ** 2).mean()
    return total


def _apart(a: Array, b: Array) -> Array:
    """Mean of 1 - cosine of the unit rows of a and b."""
    return 1 - (a * b).sum(1).mean()


def _bent(a: Array, b: Array) -> Array:
    """Mean absolute difference of the inner products of the rows of a and of those of b."""
    return jnp.abs(a @ a.T - b @ b.T).mean()


def _path(params: dict, z: Array, source: str, target: str, moments=None) -> tuple[Array, list]:
    """Unit rows of `target` from rows of `source`, and the moments of the normalised layers on that way."""
    used, given = [], moments or (None, None, None)
    for network, fixed in zip((params["into"][source], params["shared"], params["out_of"][target]), given, strict=True):
        z, seen = _network(network, z, fixed)
        used.append(seen)
    return _unit(z), used


def _latent(params: dict, z: Array, source: str) -> Array:
    return _network(params["shared"], _network(params["into"][source], z)[0])[0]


def _out(params: dict, latent: Array, target: str) -> Array:
    return _unit(_network(params["out_of"][target], latent)[0])


def _unit(z: Array) -> Array:
    return z * jax.lax.rsqrt((z * z).sum(1, keepdims=True) + 1e-12)


def _network(network: dict, h: Array, fixed=None) -> tuple[Array, list]:
    """Linear, residual blocks h + silu(norm(linear h)), linear; and the mean and variance of each block's batch."""
    used = []
    h = _linear(network["first"], h)
    for i, block in enumerate(network["blocks"]):
        z = _linear(block, h)
        if "gain" in block:  # critics are not normalised
            mean, variance = (z.mean(0), z.var(0)) if fixed is None else fixed[i]
            used.append((mean, variance))
            z = (z - mean[None]) * jax.lax.rsqrt(variance + 1e-5)[None] * block["gain"][None] + block["shift"][None]
        h = h + jax.nn.silu(z)
    return _linear(network["last"], h), used


def _linear(layer: dict, h: Array) -> Array:
    return h @ layer["weight"] + layer["bias"][None]


@partial(jax.jit, static_argnums=(3, 4))
def _translated(params, moments, z, source, target):
    return _path(params, z, source, target, moments)[0]


def _begun(key: Array, p: int, q: int, settings: Settings) -> dict:
    """Random networks, and optimisers that have done nothing."""
    keys = iter(jax.random.split(jax.random.fold_in(key, 0), 8))
    width = settings.width

    def network(inside, outside, depth, normalised=True):
        def linear(k, a, b):
            return {"weight": jax.random.normal(k, (a, b)) * (1 / a) ** 0.5, "bias": jnp.zeros(b)}

        first, *blocks, last = jax.random.split(next(keys), depth)
        extra = {"gain": jnp.ones(width), "shift": jnp.zeros(width)} if normalised else {}
        return {"first": linear(first, inside, width), "blocks": [linear(k, width, width) | extra for k in blocks],
                "last": linear(last, width, outside)}  # fmt: skip

    params = {
        "into": {s: network(n, width, settings.adapter_depth) for s, n in (("x", p), ("y", q))},
        "shared": network(width, width, settings.backbone_depth),
        "out_of": {s: network(width, n, settings.adapter_depth) for s, n in (("x", p), ("y", q))},
    }
    critics = {s: network(n, 1, settings.critic_depth, False) for s, n in (("x", p), ("y", q), ("latent", width))}
    adam, critic_adam = _optimisers(settings)
    state = {"params": params, "critics": critics, "adam": adam.init(params), "critic_adam": critic_adam.init(critics)}
    return jax.tree.map(jnp.array, state)  # each leaf a buffer of its own, to be overwritten


def _optimisers(settings: Settings):
    return [optax.adam(optax.linear_schedule(0.0, rate, settings.warmup), b1=0.5, b2=0.999)
            for rate in (settings.rate, settings.critic_rate)]  # fmt: skip


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _advance(settings: Settings, state: dict, numbers: Array, x: Array, y: Array, key: Array):
    """The state after the steps with these numbers, and their losses; a step depends on its number, not on the run."""
    adam, critic_adam = _optimisers(settings)
    weights = asdict(settings.weights)

    def total(params, critics, a, b):
        terms = losses(params, critics, a, b)
        return sum(weights[name] * term for name, term in terms.items()), terms

    def step(state, number):
        kx, ky = jax.random.split(jax.random.fold_in(key, number + 1))
        a, b = (z[jax.random.randint(k, settings.batch, 0, len(z))] for z, k in ((x, kx), (y, ky)))
        params, critics = state["params"], state["critics"]
        value, slope = jax.value_and_grad(_critics_loss)(critics, params, a, b)
        update, critic_moments = critic_adam.update(slope, state["critic_adam"])
        critics = optax.apply_updates(critics, update)
        slope, terms = jax.grad(total, has_aux=True)(params, critics, a, b)
        update, moments = adam.update(slope, state["adam"])
        params = optax.apply_updates(params, update)
        state = {"params": params, "critics": critics, "adam": moments, "critic_adam": critic_moments}
        return state, jnp.stack([terms[name] for name in TERMS[:-1]] + [value])

    return jax.lax.scan(step, state, numbers)


def _rows(z: Array, name: str) -> Array:
    lengths = jnp.sqrt((z * z).sum(1, keepdims=True))
    if checks.is_concrete(lengths) and not bool((lengths > 0).all()):
        raise ValueError(f"{name}: expected rows with a direction; got a row of zeros, row {int(lengths.argmin())}")
    return z / lengths


def _checked(settings: Settings, n: int) -> Settings:
    for name, low in (("width", 1), ("adapter_depth", 2), ("backbone_depth", 2), ("critic_depth", 2), ("warmup", 1)):
        checks.count(getattr(settings, name), f"settings.{name}", low=low, high=10**6)
    checks.count(settings.batch, "settings.batch", low=2, high=n, why="rows of x and of y")
    rates = {name: float(checks.real(getattr(settings, name), f"settings.{name}", low=0)) for name in
             ("rate", "critic_rate")}  # fmt: skip
    for name, weight in asdict(settings.weights).items():
        checks.real(weight, f"settings.weights.{name}", low=0)
    return replace(settings, **rates)


def _identity(x: Array, y: Array, key: Array, settings: Settings) -> str:
    """What a checkpoint belongs to, as text."""
    data = hashlib.sha256(b"".join(np.asarray(z, np.float32).tobytes() for z in (x, y))).hexdigest()
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    seed = np.asarray(jax.random.key_data(key) if typed else key).tolist()
    return json.dumps({"data": data, "key": seed, "settings": asdict(settings)}, sort_keys=True)


def _keep(path: Path, state: dict, losses: np.ndarray, what: str) -> None:
    """Write the state under a temporary name, then give it its own: a run that is cut off leaves the last one whole."""
    leaves = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, what=np.array(what), losses=losses, **leaves)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _resumed(path: Path, state: dict, what: str) -> tuple[dict, np.ndarray, int]:
    """State, losses and number of steps done, from a file; ValueError where it belongs to another run."""
    with np.load(path, allow_pickle=False) as file:
        found = str(file["what"]) if "what" in file.files else ""
        if found != what:
            ours = json.loads(what)
            theirs = json.loads(found or "{}")
            other = [name for name in ours if ours[name] != theirs.get(name)]
            raise ValueError(f"checkpoint: expected a state of this run; {path} has other {' and '.join(other)}")
        leaves, tree = jax.tree.flatten(state)
        leaves = [jnp.asarray(file[f"leaf_{i}"]) for i in range(len(leaves))]
        return jax.tree.unflatten(tree, leaves), file["losses"], len(file["losses"])


def _bar(steps: int, done: int):
    from tqdm.auto import tqdm

    return tqdm(total=steps, initial=done, unit="step")
