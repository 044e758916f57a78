"""The bibliography is complete, free of doubles, and cites each paper in one form."""

import dataclasses
import re
import unicodedata

import pytest

from repgeo.papers import PAPERS, Paper, cite

KEYS = """raghu2017 morcos2018 kornblith2019 williams2021 ding2021 harvey2023 tang2020 boixadsera2022 huh2024
kriegeskorte2008 szekely2007 szekely2014 song2012 gretton2005 li2015 nguyen2021 davari2022 murphy2024 cui2022
steck2024 may2019 khosla2024""".split()


def ascii_letters(name):
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub("[^a-z]", "", plain.lower())


def test_the_papers_that_rooms_cite_are_listed():
    assert set(KEYS) <= set(PAPERS)


def test_a_key_is_the_first_surname_and_the_year():
    for key, paper in PAPERS.items():
        assert key == paper.key == f"{ascii_letters(paper.authors[0].split()[-1])}{paper.year}"


def test_no_paper_is_listed_twice():
    assert len({paper.title.lower() for paper in PAPERS.values()}) == len(PAPERS)
    ids = [paper.arxiv for paper in PAPERS.values() if paper.arxiv]
    assert len(set(ids)) == len(ids)


def test_an_arxiv_id_has_its_form_and_does_not_come_after_the_year():
    for paper in PAPERS.values():
        assert paper.arxiv or paper.venue, paper.key
        if paper.arxiv:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv), paper.key
            posted = 2000 + int(paper.arxiv[:2])
            # szekely2007 was posted a year after it was printed
            assert posted - 1 <= paper.year <= posted + 1, paper.key


def test_the_list_is_in_alphabetical_order():
    assert list(PAPERS) == sorted(PAPERS)


def test_a_citation_names_one_two_or_more_authors(monkeypatch):
    alone = Paper("doe2001", ("Jane Doe",), 2001, "A title", venue="A journal")
    monkeypatch.setitem(PAPERS, "doe2001", alone)
    assert cite("doe2001") == "Doe 2001, A journal"
    assert cite("szekely2014") == "Székely and Rizzo 2014, arXiv:1310.2926"
    assert cite("raghu2017") == "Raghu et al. 2017, arXiv:1706.05806"


def test_every_paper_can_be_cited_in_a_form_of_its_own():
    assert len({cite(key) for key in PAPERS}) == len(PAPERS)


def test_an_unknown_key_lists_the_nearest_first():
    with pytest.raises(ValueError, match="key: expected one of kornblith2019, .*; got 'kornblith2018'"):
        cite("kornblith2018")


def test_a_paper_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPERS["huh2024"].year = 2023
