"""Request ids are random, and a client's are checked."""

from __future__ import annotations

import os
import re

import pytest

from atom_platform.ids import is_request_id, new_id


def test_a_new_id_is_32_hexadecimal_digits_and_unique() -> None:
    made = [new_id() for _ in range(600)]  # more than two batches

    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in made)
    assert len(set(made)) == 600


def test_a_forked_process_does_not_repeat_its_parents_ids() -> None:
    new_id()  # leaves the rest of a batch behind
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    childs = os.read(reader, 32).decode()
    os.close(reader)
    os.close(writer)

    assert childs not in {new_id() for _ in range(256)}


@pytest.mark.parametrize("text", ["a", "A-z_0.9", "x" * 128])
def test_a_clients_id_is_accepted(text: str) -> None:
    assert is_request_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a b", "a\n", 'a"', "ä", "a/b"])
def test_anything_else_is_not_accepted_as_an_id(text: str) -> None:
    assert not is_request_id(text)
