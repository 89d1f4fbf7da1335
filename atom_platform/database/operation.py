"""What kind of work a statement is, for the label of its duration."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["operation_of"]

KINDS: Final = frozenset({"select", "insert", "update", "delete"})

#: What a statement's text is made of, as far as it matters here: what may hide a word, what nests,
#: and words. Anything else falls between the matches.
TOKEN: Final = re.compile(
    r"""
    --[^\n]*            |  /\*.*?\*/          # comments
    | '(?:[^']|'')*'    |  "(?:[^"]|"")*"     # strings and quoted names
    | \$(\w*)\$.*?\$\1\$                      # PostgreSQL's dollar quotes
    | (?P<paren>[()])
    | (?P<word>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=1024)
def operation_of(statement: str) -> str:
    """
    Return select, insert, update, delete, or other.

    The first word decides, comments and parentheses before it apart; after WITH it is the first of
    the four outside of the parentheses of the common table expressions.
    """
    depth = 0
    common = False
    for token in TOKEN.finditer(statement):
        if paren := token["paren"]:
            depth += 1 if paren == "(" else -1
        elif word := token["word"]:
            word = word.lower()
            if not common:
                if word in KINDS:
                    return word
                if word != "with":
                    return "other"
                common, depth = True, 0
            elif depth == 0 and word in KINDS:
                return word
    return "other"
