"""Whatever a skill returns becomes JSON that both databases take, and not too much of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_platform.skills.step_data import bounded_output, clean_text
from tests.support.examples import examples

LIMIT = 65_536


class Unprintable:
    """A value whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        (True, True),
        ({"a": [1, 2.5, "x"]}, {"a": [1, 2.5, "x"]}),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (float("nan"), None),
        ([float("inf")], [None]),
        (b"x", "b'x'"),
        ({"a": {1}}, {"a": "{1}"}),
        ("a\x00b\ud800c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        (Unprintable(), "<Unprintable>"),
        (10**40, 10**40),
    ],
)
def test_becomes_json(value: object, kept: Any) -> None:
    assert bounded_output(value) == kept


def test_what_fits_is_not_touched() -> None:
    text = "x" * (LIMIT - 2)

    assert bounded_output(text) == text


def test_one_byte_more_is_cut() -> None:
    cut = bounded_output("x" * (LIMIT - 1))

    assert cut.endswith(f"… [cut, {LIMIT - 1} characters]")
    assert len(json.dumps(cut, ensure_ascii=False).encode()) <= LIMIT


def test_a_long_text_is_cut_inside_its_object() -> None:
    """Later steps still find the status beside the long body."""
    cut = bounded_output({"status": 200, "body": "x" * 500_000})

    assert cut["status"] == 200
    assert cut["body"].endswith("… [cut, 500000 characters]")


def test_what_cannot_be_cut_becomes_text() -> None:
    cut = bounded_output(list(range(100_000)))

    assert isinstance(cut, str)
    assert cut.startswith("[0, 1, 2")


def test_what_contains_itself_becomes_text() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert bounded_output(loop) == "[[...]]"


@settings(max_examples=examples(60), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)
def test_anything_is_bounded_json_without_nul_or_surrogates(value: object) -> None:
    text = json.dumps(bounded_output(value), ensure_ascii=False, allow_nan=False)

    assert len(text.encode("utf-8")) <= LIMIT
    assert "\\u0000" not in text


def test_clean_text_leaves_what_is_clean() -> None:
    assert clean_text("Grüße, 世界 🎉\n") == "Grüße, 世界 🎉\n"
