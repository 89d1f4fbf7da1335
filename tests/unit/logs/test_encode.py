"""Whatever is logged becomes one line of valid JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import uuid
from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_platform.logs.encode import encode_line
from tests.support.examples import examples

HEAD = {"timestamp": "t", "level": "INFO", "logger": "l", "event": "e"}
MIB = 1024 * 1024


def encoded(**fields: Any) -> dict[str, Any]:
    line = encode_line({**HEAD, **fields})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= MIB
    decoded: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return decoded


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class Shouting(str):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Shifting(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("changed while it was read")


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Login:
    user: str
    hidden: str = dataclasses.field(repr=False)


def circle() -> list[Any]:
    around: list[Any] = [1]
    around.append(around)
    return around


def well() -> list[Any]:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    return deep


MOMENT = datetime.datetime(2026, 2, 16, 19, 15, tzinfo=datetime.UTC)
ID = uuid.UUID(int=7)
Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (float("-inf"), None),
        (10**30, str(10**30)),
        (-(2**63), -(2**63)),
        (2**64, str(2**64)),
        (True, True),
        (b"\x00\xff", r"b'\x00\xff'"),
        (
            {
                1,
            },
            "{1}",
        ),
        ((1, "a"), [1, "a"]),
        (Point(1, 2), [1, 2]),
        ({(1, 2): "t", 3: "i", None: "n"}, {"(1, 2)": "t", "3": "i", "None": "n"}),
        ({"a": {"b": [float("nan")]}}, {"a": {"b": [None]}}),
        ("\ud800", r"\ud800"),
        ({"\udfff": "\ud800x"}, {r"\udfff": r"\ud800x"}),
        ("line\nbreak\r\x1b[31m\x00\u2028", "line\nbreak\r\x1b[31m\x00\u2028"),
        (Colour.RED, "red"),
        (MOMENT, "2026-02-16T19:15:00+00:00"),
        (ID, "00000000-0000-0000-0000-000000000007"),
        (decimal.Decimal("1.5"), "Decimal('1.5')"),
        (Login("ada", "x"), "Login(user='ada')"),
        (Unspeakable(), "<Unspeakable without a repr>"),
        (Shouting("a"), "a"),
        (UserDict(a=1), "{'a': 1}"),
        (circle(), [1, "[circular]"]),
        (ValueError("no"), "ValueError('no')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_shows_what_json_cannot_hold(value: Any, shown: Any) -> None:
    assert encoded(value=value)["value"] == shown


@pytest.mark.parametrize("make", [well, lambda: 10**5000, lambda: (i for i in "ab"), Shifting])
def test_survives_values_that_raise(make: Callable[[], Any]) -> None:
    assert "value" in encoded(value=make(), after=1)


def test_values_nested_too_deep_are_left_out() -> None:
    assert "[cut: nested too deep]" in encode_line({**HEAD, "value": well()}).decode()


def test_the_number_of_nested_values_is_bounded() -> None:
    """A million objects would hold up every other thread while they are looked at."""
    line = encoded(value=[[{1}] * 40_000, [{1}] * 40_000], after=1)

    assert line["value"][1] == "[cut: 40000 values]"
    assert line["after"] == 1


def test_a_line_of_a_mebibyte_is_whole() -> None:
    text = "x" * (MIB - 100)

    assert encoded(text=text)["text"] == text


def test_a_longer_line_is_cut_and_marked() -> None:
    line = encoded(text="x" * (2 * MIB), after="kept")

    assert line["truncated"] is True
    assert line["after"] == "kept"
    assert line["text"].startswith("xxx")
    assert line["text"].endswith("bytes more]")
    assert len(line["text"]) < 70_000


def test_a_long_container_is_cut_to_text() -> None:
    line = encoded(numbers=list(range(400_000)), after="kept")

    assert line["after"] == "kept"
    assert isinstance(line["numbers"], str)


def test_too_many_fields_are_left_out_from_the_end() -> None:
    line = encoded(**{f"f{number}": "y" * 60_000 for number in range(40)})

    assert {**HEAD, "truncated": True}.items() <= line.items()
    assert "f0" in line
    assert "f39" not in line


def test_a_line_of_escapes_stays_within_the_limit() -> None:
    """A NUL takes one byte in memory and six in JSON."""
    assert encoded(text="\x00" * (MIB // 2))["truncated"] is True


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(codec=None)),
        st.binary(),
        st.datetimes(timezones=st.sampled_from([None, datetime.UTC])),
        st.times(),
        st.timedeltas(),
        st.decimals(),
        st.fractions(),
        st.complex_numbers(),
        st.uuids(),
        st.sampled_from(
            ["password=1", "Bearer abcdef", "a://b:c@d", '"token": "x"', "unspeakable"]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.tuples(st.integers())), inner),
        st.frozensets(st.integers()),
    ),
    max_leaves=20,
)


def strange(value: Any) -> Any:
    """Put in what hypothesis could not print if the test failed."""
    if value == "unspeakable":
        return Unspeakable()
    return [strange(each) for each in value] if type(value) is list else value


@given(st.dictionaries(st.text(st.characters(codec=None)), anything, max_size=8))
@settings(max_examples=examples(300), deadline=None)
def test_any_fields_make_one_valid_line(fields: dict[str, Any]) -> None:
    line = encode_line({**HEAD, **{key: strange(value) for key, value in fields.items()}})

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert isinstance(json.loads(line, parse_constant=pytest.fail), dict)


def test_a_line_of_line_separators_stays_within_the_limit() -> None:
    """Each takes six bytes where UTF-8 has three."""
    line = {"event": "x", **{f"field{number}": "\u2028" * 21_000 for number in range(40)}}

    encoded = encode_line(line)

    assert len(encoded) <= 1024 * 1024
    assert json.loads(encoded)["truncated"] is True
    assert encoded.isascii()
