"""Ratings and WEAT are those of the literature, and the report measures them on every version of the rows."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from repgeo.erasure import guardedness_report, mean_projection, similarity_agreement, weat
from repgeo.probes import ridge

GOLDEN = dict(np.load(Path(__file__).parents[1] / "golden" / "erasure.npz", allow_pickle=False))
SETS = [GOLDEN[f"weat/{name}"] for name in "XYAB"]
KEY = jax.random.key(0)


def test_weat_is_that_of_the_published_packages():
    found = weat(*SETS)
    assert found.d == pytest.approx(float(GOLDEN["weat/d_ddof0"]), abs=1e-5)
    assert found.p == pytest.approx(float(GOLDEN["weat/p_ge"]), abs=1e-9)
    other = weat(SETS[1], SETS[0], *SETS[2:])
    assert other.d == pytest.approx(-found.d) and other.p > 0.9
    assert weat(*(3 * np.asarray(rows) for rows in SETS)).d == pytest.approx(found.d, abs=1e-5)


def test_many_words_are_dealt_at_random_and_p_agrees_with_all_partitions(monkeypatch):
    import repgeo.erasure.words as room

    random = np.random.default_rng(1)
    sets = [random.normal(size=(8, 10)) + shift for shift in (0.3, 0.0, 0.5, 0.0)]
    exact = weat(*sets)
    monkeypatch.setattr(room, "_EXACT", 10)
    drawn = weat(*sets, key=KEY, draws=20_000)
    assert drawn.d == exact.d
    assert abs(drawn.p - exact.p) < 4 * np.sqrt(exact.p * (1 - exact.p) / 20_000) + 1e-4
    with pytest.raises(ValueError, match="key: expected one for random partitions of 16 words"):
        weat(*sets)


def test_agreement_is_the_rank_correlation_over_known_pairs():
    random = np.random.default_rng(0)
    x, names = random.normal(size=(30, 6)), [f"w{i}" for i in range(30)]
    pairs = [(f"w{i}", f"w{j}") for i, j in random.integers(0, 32, (60, 2))]
    scores = random.integers(0, 8, 60) / 2  # with ties
    known = [i for i, (u, v) in enumerate(pairs) if int(u[1:]) < 30 and int(v[1:]) < 30]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosines = [unit[int(pairs[i][0][1:])] @ unit[int(pairs[i][1][1:])] for i in known]
    assert len(known) < 60
    right = spearmanr(np.round(cosines, 6), scores[known]).statistic
    assert similarity_agreement(x, names, pairs, scores) == pytest.approx(right, abs=1e-3)


def test_the_report_measures_words_on_every_version():
    random = np.random.default_rng(2)
    x = random.normal(size=(60, 8)).astype(np.float32)
    y = np.arange(60) % 2
    x[:, 0] += 4 * y
    words = np.array([f"w{i}" for i in range(60)])
    pairs, scores = words[random.integers(0, 60, (40, 2))], random.random(40)
    sets = {"axis": [words[y == s][i : i + 8].tolist() for s, i in ((1, 0), (0, 0), (1, 10), (0, 10))]}
    after = mean_projection(x, y, labels="categorical").transform(x)
    report = guardedness_report(
        x, after, y, key=KEY, probes={"ridge": partial(ridge, l2=1e-2)}, words=words, ratings={"some": (pairs, scores)},
        associations=sets,
    )
    d = {name: row.weat["axis"].d for name, row in report.rows.items()}
    assert abs(d["after"]) < 1.2 < 1.5 < min(d["before"], d["random"])
    assert report.rows["before"].words["some"] == similarity_agreement(x, words, pairs, scores)
    lines = report.table().splitlines()
    assert len({line.count("|") for line in lines[:6]}) == 1 and "| some | WEAT axis d (p) |" in lines[0]
    for change, message in (
        ({"words": None}, "words: expected the word of each row"),
        ({"words": words[:5]}, "words: expected 60 different ones"),
        ({"associations": {"axis": [["w1"], ["w2"], ["w3"], ["nothing"]]}}, r"'axis'.*1 unknown words \['nothing'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            guardedness_report(x, after, y, key=KEY, **{"words": words, "associations": sets} | change)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: weat(SETS[0], SETS[1][:4], *SETS[2:]), "x and y: expected as many words"),
        (lambda: weat(SETS[0], SETS[1], SETS[2][:, :3], SETS[3]), "of the attributes' width"),
        (lambda: weat(SETS[0] * 0, *SETS[1:]), "x and y: expected rows that are not 0"),
        (lambda: weat(SETS[0], SETS[1], SETS[2], SETS[2]), "x and y: expected words that are associated differently"),
        (lambda: similarity_agreement(np.eye(3), ["a", "a", "b"], [], []), "names: expected 3 different words"),
        (lambda: similarity_agreement(np.eye(3), "abc", [("a", "b")], [1.0, 2.0]), "one rating a pair; got 1 and 2"),
        (lambda: similarity_agreement(np.eye(3), "abc", [("a", "b")], [1.0]), "at least 3 .* got 1 of 1"),
        (lambda: similarity_agreement(np.eye(3), "abc", ["ab", "bc", "ac"], [1.0, 2.0, 3.0]), "one that is constant"),
    ],
)
def test_bad_input_gives_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
