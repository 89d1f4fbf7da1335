"""Templates do what Jinja2's users expect, reach nothing else, and always end."""

from __future__ import annotations

import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atom_platform.skills.templates import TemplateFailed, Templates
from tests.support.examples import examples

VARIABLES = {
    "input": {
        "name": "Ada",
        "items": [1, 2, 3],
        "count": 5,
        "nested": {"a": [1, {"b": 2}]},
        "text": "x" * 900_000,
        "numbers": list(range(150_000)),
    },
    "steps": [{"skill": "wait", "output": "hi"}],
}

MEGABYTE = 1024 * 1024


@pytest.fixture(name="templates")
def _templates() -> Templates:
    return Templates()


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ input.name }}!", "Ada!"),
        ("{{ steps[0].output }}\n", "hi\n"),
        ("{{ input.count }}", "5"),
        pytest.param("{{ input.items }}", "[1, 2, 3]", id="keys-win-over-methods"),
        pytest.param("{{ input.nested }}", '{"a": [1, {"b": 2}]}', id="containers-as-json"),
        ("{{ input.nested.a[1].b + 1 }}", "3"),
        ("{{ input.missing | default('none') }}", "none"),
        ("{% for i in input.items if i > 1 %}{{ loop.index }}:{{ i }} {% endfor %}", "1:2 2:3 "),
        ("{% for k, v in input.nested.items() %}{{ k }}={{ v }}{% endfor %}", 'a=[1, {"b": 2}]'),
        ("{% if input.count > 3 %}many{% else %}few{% endif %}", "many"),
        ("{% set a = input.count * 2 %}{% with b = 1 %}{{ a + b }}{% endwith %}", "11"),
        ("{{ input.name | upper ~ '-' ~ 3 }}", "ADA-3"),
        ("{{ input.items | map('string') | join(', ') }}", "1, 2, 3"),
        ("{{ input.items[1:] | sum }} {{ 3.14159 | round(2) }}", "5 3.14"),
        ("{{ input.name.upper() }} {{ 'a-b'.split('-')[1] }}", "ADA b"),
        ("{{ 'ab' * 2 }} {{ 2 ** 8 }} {{ 7 // 2 }} {{ 7 % 4 }}", "abab 256 3 3"),
        ("{{ range(3) | list | tojson }}", "[0, 1, 2]"),
        ("{{ 'a,b' | replace(',', ';') }}{{ 'abcdef' | truncate(4) }}", "a;babc…"),
        ("{% raw %}{{ not.rendered }}{% endraw %}", "{{ not.rendered }}"),
    ],
)
def test_renders(templates: Templates, template: str, text: str) -> None:
    assert templates.render(template, VARIABLES) == text


def test_renders_inside_containers_and_leaves_other_values(templates: Templates) -> None:
    value = {"a": ["{{ input.name }}", 3, None, {"b": "{{ input.count }}"}], "{{ c }}": True}

    rendered = templates.render(value, VARIABLES)

    assert rendered == {"a": ["Ada", 3, None, {"b": "5"}], "{{ c }}": True}


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ input.name.__class__ }}",
        "{{ input['__class__'] }}",
        "{{ input.items.append(4) }}",
        "{{ input | attr('__class__') }}",
        "{{ 'x'.format }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum(n=5) }}",
        "{{ range.__init__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'x' %}",
        "{{ nowhere }}",
        "{{ input.nowhere }}",
        "{{ 1 / 0 }}",
    ],
)
def test_refuses(templates: Templates, template: str) -> None:
    with pytest.raises(TemplateFailed):
        templates.render(template, VARIABLES)


DOUBLINGS = {
    "concatenation": "{% set a = a ~ a %}",
    "addition": "{% set a = a + a %}",
    "replacement": "{% set a = a | replace('x', 'xx') %}",
    "join": "{% set a = [a, a] | join %}",
    "tojson": "{% set a = [a, a] | tojson %}",
    "list": "{% set a = [a, a] %}",
    "object": "{% set a = {'a': a, 'b': a} %}",
    "list-addition": "{% set a = [a] + [a] %}",
    "conditional": "{% set a = (a ~ a) if a else '' %}",
}
BOMBS = {
    "repetition": "{{ 'a' * 10**9 }}",
    "power": "{{ 9 ** 9999999 }}",
    "range": "{{ range(10**9) | list }}",
    "list-repetition": "{{ [1] * 10**9 }}",
    "padding": "{{ '%999999999d' % 1 }}",
    "format": "{{ '{:>999999999}'.format(1) }}",
    "format-filter": "{{ '%999999999d' | format(1) }}",
    "center": "{{ 'a' | center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "precision": "{{ 1.5 | round(10**9, 'ceil') }}",
    "indent": "{{ [1] | tojson(indent='x' * 10**9) }}",
    "macro": "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('x') }}",
    "capture": "{% set a %}{{ 'x' * 1000 }}{% endset %}{{ a }}",
    "recursion": "{% for a in [[1]] recursive %}{{ loop(a) }}{% endfor %}",
    "nested-loops": "{% for a in range(9999) %}" * 5 + "{% endfor %}" * 5,
    "printing-loops": "{% for a in range(9999) %}" * 3 + "some text" + "{% endfor %}" * 3,
    "map": "{{ input.numbers | map('replace', '1', input.text) | list }}",
    "join-of-one-text": "{{ [input.text, input.text, input.text, input.text, input.text] | join }}",
    "slices": "{{ [" + "input.text[1:]," * 1000 + "] | length }}",
    "lists": "{{ [" + "input.numbers | list," * 1000 + "] | length }}",
    "search": "{% for a in input.numbers %}{% if 'xy' in input.text %}{% endif %}{% endfor %}",
    "comparison": "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    + "{{ a == b }}",
    "nesting": "{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}",
    "blocks": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "length": "{{ 1 }}" * 10_000,
    **{name: "{% set a = 'x' %}" + line * 60 + "{{ a }}" for name, line in DOUBLINGS.items()},
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_bomb_goes_out(bomb: str) -> None:
    """It ends about when its processor time does, and memory stays what it was."""
    templates = Templates(cpu_seconds=0.2)
    started = time.thread_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    with pytest.raises(TemplateFailed):
        templates.render(bomb, VARIABLES)

    assert time.thread_time() - started < 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 150 * MEGABYTE


def test_all_texts_of_a_step_share_one_allowance(templates: Templates) -> None:
    half = "{{ 'x' * 3000000 }}"

    with pytest.raises(TemplateFailed):
        templates.render({"a": half, "b": half}, {})


def test_says_where(templates: Templates) -> None:
    with pytest.raises(TemplateFailed, match=r"^headers/X-Name: 'nobody' is undefined$"):
        templates.render({"headers": {"X-Name": "{{ nobody }}"}}, {})


def test_faults_are_found_without_rendering(templates: Templates) -> None:
    value = {"good": "{{ nobody }}", "bad": ["{{ x", "{% nothing %}"], "macro": "{% macro m() %}"}

    faults = dict(templates.find_errors(value))

    assert set(faults) == {("bad", 0), ("bad", 1), ("macro",)}
    assert all(message.startswith("line 1: ") for message in faults.values())


@settings(max_examples=examples(150), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            (
                *(
                    "{{",
                    "}}",
                    "{%",
                    "%}",
                    "{#",
                    "#}",
                    "for ",
                    "x ",
                    "in ",
                    "if ",
                    "endfor",
                    "endif",
                ),
                *("set ", "=", "~", "*", "**", "|", "join", "(", ")", "[", "]", "9" * 30, "'a'"),
                *("input", ".", "steps", "\n", "é", "\ud800", "\x00", " ", "-", "raw", "macro m()"),
            )
        ),
        max_size=25,
    ).map("".join)
)
def test_any_text_renders_or_fails_as_a_template(text: str) -> None:
    try:
        rendered = Templates().render(text, {"input": {}, "steps": []})
    except TemplateFailed:
        return

    assert isinstance(rendered, str)
