"""Test that texts that look the same get one spelling."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctdc_pipeline.spelling import normal_form


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("C1\u200f", "C1"),
        ("\u200bC1", "C1"),
        ("\ufeffC1", "C1"),
        ("C\u00ad1", "C1"),
        ("C\x001\x7f", "C1"),
        ("C1\U000e0020", "C1"),
        ("C\uff11", "C1"),
        ("C\u0661\u06f2\u0967", "C121"),
        ("C\u00a0\u3000\t1 ", "C 1"),
        ("C\u2028 1", "C 1"),
        ("Ce\u0301", "C\u00e9"),
        ("Ce\u200d\u0301", "C\u00e9"),
        ("C\u20111", "C-1"),
        ("C\u2013\u22121", "C--1"),
        ("c1", "c1"),
        ("0C1", "0C1"),
    ],
)
def test_texts_that_look_the_same_are_written_the_same(written: str, compared: str) -> None:
    """Guards against missing a person because a number was copied from a document with invisible characters."""
    assert normal_form(written) == compared


@given(st.text())
def test_the_normal_form_is_final(text: str) -> None:
    """Guards against a form that depends on how often it is applied, so that the two sides of a comparison differ."""
    once = normal_form(text)
    assert normal_form(once) == once
    assert normal_form(unicodedata.normalize("NFD", text)) == once


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126)))
def test_ordinary_identifiers_stay_as_they_are(text: str) -> None:
    """Guards against changing the pseudonyms of an existing home."""
    assert normal_form(text) == text
