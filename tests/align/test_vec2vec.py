"""The adversarial translator: its losses, its bookkeeping, and a toy that it solves and one it cannot."""

import os
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from repgeo.align import vec2vec
from repgeo.align.vec2vec import Settings, Weights, fit

KEY = jax.random.key(0)
SMALL = Settings(width=6, adapter_depth=3, backbone_depth=3, critic_depth=3, batch=8, warmup=2, rate=1e-2)
TOY = Settings(width=32, batch=128, warmup=100, rate=1e-3, critic_rate=1e-3, weights=Weights(geometry=10))


def sides(n=30, p=4, q=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, p)).astype(np.float32), rng.normal(size=(n + 5, q)).astype(np.float32)


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def seen_by_two(seed):
    """Two encoders, of 8 and 10 features, of other points of six clusters; and the same 300 points seen by both."""
    world = np.random.default_rng(0)
    centres, shares = world.standard_normal((6, 3)), world.dirichlet(3 * np.ones(6))
    shapes = world.standard_normal((6, 3, 3)) / 4
    first, second = (np.linalg.qr(world.standard_normal((p, 3)))[0].T for p in (8, 10))

    def points(n, seed):
        rng = np.random.default_rng(seed)
        kind = rng.choice(6, n, p=shares)
        return centres[kind] + np.einsum("nij,nj->ni", shapes[kind], rng.standard_normal((n, 3)))

    x, y, both = points(2000, 3 * seed + 1), points(2000, 3 * seed + 2), points(300, 3 * seed + 3)
    return unit(x @ first), unit(y @ second), unit(both @ first), unit(both @ second)


def literal(network, h):
    h = h @ network["first"]["weight"] + network["first"]["bias"]
    for block in network["blocks"]:
        z = h @ block["weight"] + block["bias"]
        if "gain" in block:
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) * block["gain"] + block["shift"]
        h = h + z / (1 + np.exp(-z))
    return h @ network["last"]["weight"] + network["last"]["bias"]


def test_every_loss_is_the_written_one():
    x, y = (unit(z)[:20] for z in sides())
    state = vec2vec._begun(KEY, 4, 3, SMALL)
    found = vec2vec.losses(state["params"], state["critics"], jnp.asarray(x), jnp.asarray(y))
    params, critics = (jax.tree.map(lambda a: np.asarray(a, float), state[k]) for k in ("params", "critics"))

    def latent(z, s):
        return literal(params["shared"], literal(params["into"][s], z))

    def path(z, s, t):
        return unit(literal(params["out_of"][t], latent(z, s)))

    def cosines_left(a, b):
        return np.mean([1 - u @ v for u, v in zip(a, b, strict=True)])

    xx, yy, xy, yx = path(x, "x", "x"), path(y, "y", "y"), path(x, "x", "y"), path(y, "y", "x")
    round_x, round_y = path(xy, "y", "x"), path(yx, "x", "y")
    expected = {
        "reconstruction": cosines_left(x, xx) + cosines_left(y, yy),
        "geometry": np.abs(x @ x.T - xy @ xy.T).mean() + np.abs(y @ y.T - yx @ yx.T).mean(),
        "cycle": cosines_left(x, round_x) + cosines_left(y, round_y),
        "cycle_geometry": sum(
            np.abs(a @ a.T - b @ b.T).mean() + np.abs(a @ a.T - b @ a.T).mean() for a, b in ((x, round_x), (y, round_y))
        ),
        "adversarial": ((literal(critics["y"], xy) - 1) ** 2).mean() + ((literal(critics["x"], yx) - 1) ** 2).mean(),
        "latent": (literal(critics["latent"], latent(x, "x")) ** 2).mean()
        + ((literal(critics["latent"], latent(y, "y")) - 1) ** 2).mean(),
    }
    assert found.keys() == expected.keys() and (*found, "critics") == vec2vec.TERMS
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, rel=2e-4), name
    critics_see = (
        ((literal(critics["y"], y) - 1) ** 2).mean() + (literal(critics["y"], xy) ** 2).mean()
        + ((literal(critics["x"], x) - 1) ** 2).mean() + (literal(critics["x"], yx) ** 2).mean()
        + ((literal(critics["latent"], latent(x, "x")) - 1) ** 2).mean()
        + (literal(critics["latent"], latent(y, "y")) ** 2).mean()
    )  # fmt: skip
    ours = vec2vec._critics_loss(state["critics"], state["params"], jnp.asarray(x), jnp.asarray(y))
    assert float(ours) == pytest.approx(critics_see, rel=2e-4)


def test_only_the_way_back_learns_from_a_cycle():
    x, y = (jnp.asarray(unit(z)[:20]) for z in sides())
    state = vec2vec._begun(KEY, 4, 3, SMALL)
    there = {s: vec2vec._path(state["params"], z, s, t)[0] for s, t, z in (("x", "y", x), ("y", "x", y))}

    def back(params):
        ways = ("x", "y", x), ("y", "x", y)
        return sum(1 - (z * vec2vec._path(params, there[s], t, s)[0]).sum(1).mean() for s, t, z in ways)

    ours = jax.grad(lambda p: vec2vec.losses(p, state["critics"], x, y)["cycle"])(state["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, jax.grad(back)(state["params"]))


def test_a_translation_is_of_unit_length_and_one_row_is_translated_as_in_its_batch():
    x, y = sides()
    found = fit(x, y, key=KEY, steps=5, settings=SMALL)
    for source, target, z in (("x", "y", x), ("y", "x", y), ("x", "x", x)):
        together = found.translate(z, source=source, target=target)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
        alone = found.translate(7 * z[3:4], source=source, target=target)
        np.testing.assert_allclose(alone[0], together[3], atol=1e-5)


def test_a_run_that_was_cut_off_ends_where_it_would_have(tmp_path):
    x, y = sides()
    whole = fit(x, y, key=KEY, steps=7, settings=SMALL)
    file = tmp_path / "state.npz"
    fit(x, y, key=KEY, steps=3, settings=SMALL, checkpoint=file, every=2)
    resumed = fit(x, y, key=KEY, steps=7, settings=SMALL, checkpoint=file, every=2)
    assert [f.name for f in tmp_path.iterdir()] == ["state.npz"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), whole, resumed)
    with pytest.raises(ValueError, match="steps: expected at least the 7"):
        fit(x, y, key=KEY, steps=6, settings=SMALL, checkpoint=file)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x, y: (x[::-1], y, KEY, SMALL), "data"),
        (lambda x, y: (x, y, jax.random.key(1), SMALL), "key"),
        (lambda x, y: (x, y, KEY, replace(SMALL, rate=1e-3)), "settings"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, named):
    x, y = sides()
    file = tmp_path / "state.npz"
    fit(x, y, key=KEY, steps=2, settings=SMALL, checkpoint=file)
    x, y, key, settings = change(x, y)
    with pytest.raises(ValueError, match=f"has other {named}$"):
        fit(x, y, key=key, steps=4, settings=settings, checkpoint=file)


def test_a_write_that_fails_leaves_the_last_state_whole(tmp_path, monkeypatch):
    x, y = sides()
    file = tmp_path / "state.npz"
    fit(x, y, key=KEY, steps=2, settings=SMALL, checkpoint=file)
    before = file.read_bytes()

    def fails(*_):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        fit(x, y, key=KEY, steps=4, settings=SMALL, checkpoint=file)
    assert [f.name for f in tmp_path.iterdir()] == ["state.npz"] and file.read_bytes() == before


def translated(seed, settings):
    """Mean cosine of translated points with the same points in the other space, and the last adversarial loss."""
    x, y, here, there = seen_by_two(seed)
    found = fit(x, y, key=jax.random.key(seed), steps=3000, settings=settings, every=3000)
    there_again = np.asarray(found.translate(here, source="x", target="y"))
    return (there_again * there).sum(1).mean(), float(found.losses[-200:, vec2vec.TERMS.index("adversarial")].mean())


def test_unpaired_clusters_are_translated_or_the_critics_say_that_they_are_not():
    # Critics that see no difference say 1/2 everywhere, which is twice 1/4; a wrong rotation leaves them something.
    cosines, losses = zip(*(translated(seed, TOY) for seed in (0, 1)), strict=True)
    assert cosines[0] > 0.98 and losses[0] < 0.55
    assert cosines[1] < 0.8 and losses[1] > 0.65


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: fit(x * 0, y, key=KEY, steps=1), ValueError, "x: expected rows that differ"),
        (lambda x, y: fit(np.vstack([x, 0 * x[:1]]), y, key=KEY, steps=1, settings=SMALL), ValueError, "x: .*zeros"),
        (lambda x, y: fit(x, y + np.nan, key=KEY, steps=1, settings=SMALL), ValueError, "y: expected finite"),
        (lambda x, y: fit(x, y, key=KEY, steps=1), ValueError, "settings.batch: .*rows of x and of y"),
        (lambda x, y: fit(x, y, key=KEY, steps=0, settings=SMALL), ValueError, "steps"),
        (lambda x, y: fit(x, y, key=KEY, steps=1, settings=replace(SMALL, width=0)), ValueError, "settings.width"),
        (lambda x, y: fit(x, y, key=KEY, steps=1, settings=replace(SMALL, rate=-1.0)), ValueError, "settings.rate"),
        (lambda x, y: fit(x, y, key=KEY, steps=1, settings=replace(SMALL, weights=Weights(cycle=-1))), ValueError,
         "settings.weights.cycle"),
        (lambda x, y: fit(x, y, key=KEY, steps=40, settings=replace(SMALL, rate=1e30)), ValueError, "not finite"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*sides())


def test_a_translator_names_a_wrong_space_width_or_row():
    x, y = sides()
    found = fit(x, y, key=KEY, steps=1, settings=SMALL)
    for z, source, message in ((x, "z", "source"), (y, "x", "the 4 features of space 'x'"), (0 * x, "x", "zeros")):
        with pytest.raises(ValueError, match=message):
            found.translate(z, source=source, target="y")
