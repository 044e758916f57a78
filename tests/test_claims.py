"""The ledger: verdicts follow from numbers, files are strict and stable, drift names the claim."""
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repgeo.claims import VERDICTS, Claim, Ledger, drift, read, settle, totals


def claim(id="01.1", **changes):
    """A claim that is reproduced, with some fields changed."""
    base = dict(paper="kornblith2019", says="same layers match", reported="99.3 %", where="Table 2",
                measured=0.97, interval=(0.95, 0.99), bar=(0.9, 1.0), control="shuffled layers",
                control_value=0.1)
    return Claim(id, **(base | changes))


def moved(**changes):
    """The one sentence of drift between the claim and a changed copy."""
    (sentence,) = drift(Ledger(1, (claim(**changes),)), Ledger(1, (claim(),)))
    return sentence


@pytest.mark.parametrize(("changes", "verdict"), [
    ({}, "reproduced"),
    ({"interval": (0.9, 1.0)}, "reproduced"),  # ends are inside
    ({"interval": (0.89, 0.99), "note": "wide"}, "partly"),
    ({"interval": None, "note": "one seed"}, "partly"),
    ({"comparable": False, "note": "other data"}, "partly"),
    ({"control_value": 0.95}, "not here"),
    ({"control_value": 0.9}, "not here"),  # the control meets the bar exactly
    ({"measured": 0.5, "interval": (0.4, 0.6)}, "not here"),
    ({"measured": 0.5, "interval": (0.4, 0.95)}, "not here"),
    ({"identity": True}, "identity"),
    ({"identity": True, "control": "", "control_value": None, "interval": None}, "identity"),
    ({"identity": True, "measured": 0.5, "interval": None}, "not here"),
    ({"measured": None, "interval": None}, "open"),
    ({"measured": None, "interval": None, "identity": True, "bar": (-math.inf, math.inf)}, "open"),
])
def test_each_branch_of_the_verdict_table_is_reached(changes, verdict):
    assert claim(**changes).verdict == verdict


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_verdict_follows_its_definition_on_random_claims(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        low, high = np.sort(np.round(rng.normal(size=2), 3))
        measured, control = np.round(rng.normal(size=2), 3)
        ends = (measured - rng.integers(0, 3) / 4, measured + rng.integers(0, 3) / 4)
        comparable, identity = rng.integers(0, 2, 2).astype(bool)
        got = claim(measured=measured, control_value=control, interval=ends, bar=(low, high), note="how",
                    comparable=bool(comparable), identity=bool(identity)).verdict
        if identity and low <= measured <= high:
            assert got == "identity"
        else:
            shows = low <= measured <= high and not low <= control <= high
            whole = low <= ends[0] and ends[1] <= high
            assert got == ("not here" if not shows else "reproduced" if whole and comparable else "partly")


@pytest.mark.parametrize(("changes", "words"), [
    ({"id": "1.1"}, "NN.k"),
    ({"id": "01-1"}, "NN.k"),
    ({"id": 1.1}, "NN.k"),
    ({"paper": ""}, "paper must be non-empty"),
    ({"says": " "}, "says must be non-empty"),
    ({"where": None}, "where must be non-empty"),
    ({"bar": (1.0, 0.9)}, "bar must have low <= high"),
    ({"bar": 0.9}, "bar must be a pair"),
    ({"bar": (0.1, 0.2, 0.3)}, "bar must be a pair"),
    ({"bar": (math.nan, 1)}, "bar must be a number, got nan"),
    ({"bar": (-math.inf, math.inf)}, "exclude something"),
    ({"interval": (0.98, 0.99)}, "does not contain measured"),
    ({"interval": (0.99, 0.95)}, "interval must have low <= high"),
    ({"measured": math.nan}, "measured must be a number, got nan"),
    ({"measured": math.inf, "interval": None}, "measured must be finite"),
    ({"measured": "0.97"}, "measured must be a number"),
    ({"measured": True}, "measured must be a number"),
    ({"measured": None}, "but measured is None"),
    ({"control_value": math.nan}, "control_value must be a number"),
    ({"control_value": math.inf}, "control_value must be finite"),
    ({"reported": math.nan}, "reported must be a number"),
    ({"control_value": None}, "needs a control"),
    ({"control": ""}, "needs a control"),
    ({"comparable": False}, "comes out 'partly': note"),
    ({"interval": None}, "comes out 'partly': note"),
])
def test_a_bad_claim_says_what_is_wrong_with_it(changes, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        claim(**changes)


def test_a_ledger_refuses_repeated_ids_and_claims_of_another_notebook():
    with pytest.raises(ValueError, match=r"claim 01\.1 is there twice"):
        Ledger(1, (claim(), claim()))
    with pytest.raises(ValueError, match=r"claim 01\.1 is not of notebook 02"):
        Ledger(2, (claim(),))


def mixed():
    """Claims with every verdict, infinite ends, array scalars and awkward text."""
    return [claim("01.10", measured=np.float32(0.97), bar=(0.9, math.inf), says="a | b < c"),
            claim("01.2", interval=None, note="one | seed"),
            claim("01.3", measured=0.5, interval=None, reported=45.4, control_value=np.array(0.25)),
            claim("01.4", measured=1e-7, interval=None, control="", control_value=None, bar=(-math.inf, 1e-6),
                  identity=True),
            claim("01.5", measured=None, interval=None, control="", control_value=None)]


def test_a_settled_ledger_is_read_back_equal_in_the_order_it_was_made(tmp_path):
    ledger = settle(1, mixed(), folder=tmp_path / "new")
    assert read(tmp_path / "new" / "01.json") == ledger
    assert [c.id for c in ledger] == ["01.10", "01.2", "01.3", "01.4", "01.5"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["01.json"]


def test_the_file_is_strict_json_with_verdicts_and_infinities_as_words(tmp_path):
    settle(1, [claim(bar=(0.9, math.inf))], folder=tmp_path)

    def refuse(word):
        raise AssertionError(f"{word} is not strict JSON")

    (row,) = json.loads((tmp_path / "01.json").read_text(), parse_constant=refuse)["claims"]
    assert row["bar"] == [0.9, "inf"] and row["verdict"] == "reproduced"


def test_noise_in_the_last_place_leaves_the_file_as_it_was(tmp_path):
    settle(1, [claim(measured=0.97, control_value=-0.0)], folder=tmp_path)
    before = (tmp_path / "01.json").read_bytes()
    settle(1, [claim(measured=0.97 * (1 + 2e-16), control_value=0.0)], folder=tmp_path)
    assert (tmp_path / "01.json").read_bytes() == before


def test_settle_writes_where_the_environment_says_and_to_claims_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REPGEO_LEDGER", raising=False)
    settle(1, [claim()])
    monkeypatch.setenv("REPGEO_LEDGER", str(tmp_path / "elsewhere"))
    settle(1, [claim()])
    assert (tmp_path / "claims" / "01.json").read_bytes() == (tmp_path / "elsewhere" / "01.json").read_bytes()


def test_an_unknown_paper_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises((ValueError, KeyError), match="nobody1999"):
        settle(1, [claim(paper="nobody1999")], folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", ["01", 1.0, True, -1, 100])
def test_settle_wants_an_integer_notebook_number(number, tmp_path):
    with pytest.raises(ValueError, match="number: expected an integer"):
        settle(number, [], folder=tmp_path)


def test_a_verdict_edited_by_hand_is_caught_on_reading(tmp_path):
    settle(1, [claim(measured=0.5, interval=None)], folder=tmp_path)
    path = tmp_path / "01.json"
    path.write_text(path.read_text().replace('"not here"', '"reproduced"'))
    with pytest.raises(ValueError, match="recorded as 'reproduced', but its numbers say 'not here'"):
        read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"notebook": "01", "claims": [{"id": "01.1"}]}',
                                  '{"notebook": "01", "claims": [{"verdict": "open", "colour": "red"}]}'])
def test_a_file_that_is_no_ledger_is_named(text, tmp_path):
    (tmp_path / "01.json").write_text(text)
    with pytest.raises(ValueError, match=r"01\.json: not a ledger"):
        read(tmp_path / "01.json")


def test_drift_is_silent_when_nothing_moved_and_within_the_interval():
    assert drift(Ledger(1, (claim(),)), Ledger(1, (claim(),))) == []
    assert drift(Ledger(1, (claim(measured=0.95, interval=(0.92, 0.96)),)), Ledger(1, (claim(),))) == []


def test_drift_names_a_claim_whose_verdict_changed():
    sentence = moved(measured=0.2, interval=(0.1, 0.3))
    assert sentence.startswith("claim 01.1 (same layers match) was reproduced and is not here: measured 0.2")


def test_drift_names_a_number_that_left_its_recorded_interval():
    assert "claim 01.1 (same layers match) measured 0.94, which is not in the recorded" in moved(
        measured=0.94, interval=(0.92, 0.96))


def test_drift_names_a_bar_that_was_moved_after_the_fact():
    assert "had the bar 0.9 to 1 and has 0.5 to 1" in moved(bar=(0.5, 1.0))


def test_drift_names_claims_that_vanished_or_appeared():
    other = claim("01.2")
    gone, new = drift(Ledger(1, (other,)), Ledger(1, (claim(),)))
    assert gone == "claim 01.1 (same layers match) vanished; it was reproduced."
    assert new.startswith("claim 01.2 (same layers match) is new and reproduced")


def test_without_an_interval_a_number_may_move_by_the_stated_share():
    def pair(value, tolerance):
        fresh = Ledger(1, (claim(measured=value, interval=None, note="one seed"),))
        recorded = Ledger(1, (claim(measured=0.95, interval=None, note="one seed"),))
        return drift(fresh, recorded, tolerance=tolerance)

    assert pair(0.93, 0.05) == []
    (sentence,) = pair(0.93, 0.01)
    assert "claim 01.1" in sentence and "within 1% of 0.95" in sentence


def test_an_identity_may_move_anywhere_within_its_bar_but_not_out_of_it():
    def error(value):
        return Ledger(1, (claim(measured=value, interval=None, bar=(0, 1e-6), identity=True),))

    assert drift(error(3e-9), error(9e-7)) == []
    (sentence,) = drift(error(2e-6), error(9e-7))
    assert "was identity and is not here" in sentence


def test_totals_count_every_verdict_over_all_ledgers():
    ledgers = [Ledger(1, tuple(mixed())), Ledger(2, (claim("02.1"),))]
    assert totals(ledgers) == {"reproduced": 2, "partly": 1, "not here": 1, "identity": 1, "open": 1}
    assert tuple(totals([])) == VERDICTS


def test_the_html_table_has_a_caption_scoped_heads_and_escaped_text():
    page = Ledger(1, tuple(mixed()))._repr_html_()
    counts = "1 reproduced, 1 partly, 1 not here, 1 identity, 1 open"
    assert f"<caption>Claims of notebook 01: {counts}.</caption>" in page
    assert page.count('<th scope="col">') == 7 and page.count('<th scope="row">') == 5
    assert "a | b &lt; c" in page and "a | b < c" not in page
    assert all(verdict in page for verdict in VERDICTS)


def test_the_markdown_table_has_one_row_a_claim_and_says_number_bar_control_and_note():
    lines = Ledger(1, tuple(mixed()))._repr_markdown_().split("\n")
    rows = [line for line in lines if line.startswith("| 01.")]
    assert len(rows) == 5
    assert all(line.replace(r"\|", "").count("|") == 8 for line in rows)
    assert "0.97 [0.95, 0.99]; holds if ≥ 0.9" in rows[0] and "shuffled layers: 0.1" in rows[0]
    assert "99.3 % (Table 2)" in rows[0] and "Kornblith" in rows[0]
    assert r"partly: one \| seed" in rows[1]


def test_claims_do_not_change_after_they_are_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim().measured = 1.0
