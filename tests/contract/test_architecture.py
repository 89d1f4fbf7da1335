"""The walls of docs/adr/0001-layout.md: who may import whom, sizes, names, private parts."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "atom_platform"

#: Third-party library -> the only files, relative to the package, that may import it.
MAY_IMPORT = {
    "flask": ("app.py", "monitoring.py", "extension/*.py", "*/views.py", "agents/*views.py"),
    "werkzeug": ("app.py", "extension/*.py", "*/views.py", "agents/*.py"),
    "prometheus_client": ("metrics/*.py", "tools/*.py"),
    "structlog": ("logs/*.py",),
    "orjson": ("logs/*.py", "health/*.py", "agents/*.py"),
    "sqlalchemy": ("database/*.py", "agents/store.py"),
    "alembic": ("database/*.py",),
    "psycopg": ("database/*.py",),
    "sqlite3": ("database/*.py",),
    "gunicorn": ("server/_compat_gunicorn.py", "logs/gunicorn.py"),
    "flask_swagger_ui": ("agents/reference/*.py",),
    "yaml": ("tools/*.py",),
    "click": ("cli.py", "tools/*.py"),
    "rich": ("tools/top.py",),
    "urllib3": ("skills/builtin/*.py",),
    "jinja2": ("skills/*.py", "agents/*.py"),
    "redis": ("health/checks/*redis.py",),
}

#: The first pattern that fits gives a file its level; it imports from lower levels only,
#: and from its own package's files of the same level.
LEVELS = (
    # What everybody needs, once; and what is only data.
    ("__init__.py", 0),
    ("cgroups.py", 0),
    ("timestamps.py", 0),
    ("ids.py", 0),
    ("cgroups.py", 0),
    ("forking.py", 0),
    ("trace_context.py", 0),
    ("env_parsers.py", 0),
    ("extension/request_record.py", 1),
    ("settings.py", 1),
    ("health/check.py", 0),
    ("agents/model.py", 0),
    ("metrics/catalog.py", 0),
    ("metrics/samples.py", 5),
    # Faces, from the outside in.
    ("__main__.py", 60),
    ("cli.py", 58),
    ("app.py", 55),
    ("tools/*", 52),
    ("monitoring.py", 50),
    ("checks.py", 45),
    ("extension/access_control.py", 32),
    ("extension/*", 45),
    ("*/views.py", 40),
    ("agents/*views.py", 40),
    ("agents/service.py", 35),
    ("agents/store.py", 33),
    ("agents/runner.py", 33),
    ("server/*", 35),
    # Metrics, health, logs; storage below all of them.
    ("health/registry.py", 31),
    ("health/responses.py", 31),
    ("health/checks/*", 28),
    ("metrics/storage/*", 10),
    ("metrics/scrape/page.py", 25),
    ("metrics/scrape/exposition.py", 25),
    ("metrics/scrape/*", 15),
    ("metrics/*", 20),
    ("*", 30),
)

#: What `health` may import besides itself.
ONCE = frozenset({"cgroups.py", "forking.py", "ids.py", "timestamps.py"})

MOST_LINES = 400
LEAST_LINES = 60
#: Files that are one small thing each; pages of constants are small too.
SMALL = (
    "*__init__.py",
    "__main__.py",
    "*_compat_*.py",
    "health/checks/*.py",
    "skills/builtin/*.py",
    "database/migrations/*.py",
    # What every package needs, once; and pages of constants.
    "ids.py",
    "timestamps.py",
    "checks.py",
    "extension/request_record.py",
    "tools/doctor/advice.py",
)

#: Where private names of dependencies may stand, with the versions that they were read on.
COMPAT = "*_compat_*.py"
#: Names that begin with an underscore and are documented all the same.
DOCUMENTED = frozenset(
    {
        "_asdict",
        "_exit",
        "_fields",
        "_fields_",
        "_getframe",
        "_is_gil_enabled",
        "_make",
        "_pack_",
        "_process_event",  # structlog documents it for subclasses of BoundLoggerBase
        "_replace",
    }
)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def level_of(name: str) -> int:
    return next(level for pattern, level in LEVELS if fnmatch(name, pattern))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that *path* imports, wherever in the file."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}


def own_imports(path: Path) -> set[str]:
    """
    Return the files of the package that *path* imports, relative to it.

    Not the `__init__` of its own folder: what that re-exports lies in siblings, which import one
    another by way of it.
    """
    found = set()
    for module in imports(path):
        if not module.startswith("atom_platform."):
            continue
        target = PACKAGE.joinpath(*module.split(".")[1:])
        if target.with_suffix(".py").is_file():
            found.add(name_of(target.with_suffix(".py")))
        elif (target / "__init__.py").is_file():
            found.add(name_of(target / "__init__.py"))
    return found - {name_of(path), name_of(path.parent / "__init__.py")}


def is_third_party(module: str) -> bool:
    return module.split(".")[0] not in {*sys.stdlib_module_names, "atom_platform"}


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_library_stays_behind_its_wall(library: str) -> None:
    trespassers = {
        name_of(path)
        for path in sources()
        for module in imports(path)
        if module.split(".")[0] == library and not fits(name_of(path), MAY_IMPORT[library])
    }

    assert trespassers == set()


@pytest.mark.parametrize("name", [name_of(path) for path in sources()])
def test_imports_point_downwards(name: str) -> None:
    """A package's own __init__ counts as empty: what it re-exports lies in its siblings."""
    package = name.rpartition("/")[0]

    upwards = {
        other
        for other in own_imports(PACKAGE / name)
        if level_of(other) >= level_of(name)
        and other.rpartition("/")[0] != package
        and not (level_of(other) == level_of(name) and package.startswith(other.split("/")[0]))
        and not other.endswith("__init__.py")
    }

    assert upwards == set()


def test_no_import_cycles() -> None:
    graph = {name_of(path): own_imports(path) for path in sources()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_health_imports_no_other_package() -> None:
    foreign = {
        (name_of(path), other)
        for path in (PACKAGE / "health").rglob("*.py")
        for other in own_imports(path)
        if not other.startswith("health/") and other not in ONCE
    }

    assert foreign == set()


def is_page_of_constants(path: Path) -> bool:
    """Return whether *path* defines values only: no function, no class with a method."""
    return not any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(tree_of(path))
    )


def test_no_module_is_long() -> None:
    """Beyond 400 lines a module has a second reason to change."""
    lines = {name_of(path): len(path.read_text().splitlines()) for path in sources()}

    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_module_is_a_fragment() -> None:
    """Below 60 lines a thought is spread over files that are only read together."""
    lines = {
        name_of(path): len(path.read_text().splitlines())
        for path in sources()
        if not fits(name_of(path), SMALL) and not is_page_of_constants(path)
    }

    assert {name: count for name, count in lines.items() if count < LEAST_LINES} == {}


def test_no_class_name_is_used_twice() -> None:
    places = defaultdict(list)
    for path in sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(path))

    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@cache
def own_names() -> frozenset[str]:
    """Return every name that the package itself defines, as a variable, attribute or function."""
    found = set()
    for path in sources():
        if fnmatch(name_of(path), COMPAT):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("self", "cls")
            ):
                found.add(node.attr)
    return frozenset(found | slots())


def slots() -> set[str]:
    """Return the names that stand in a `__slots__`."""
    return {
        each.value
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Assign)
        and any(
            isinstance(target, ast.Name) and target.id == "__slots__" for target in node.targets
        )
        for each in ast.walk(node.value)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def imported_names(path: Path) -> dict[str, str]:
    """Return the names that *path* binds to parts of third-party libraries, with those parts."""
    found = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if is_third_party(alias.name):
                    found[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and is_third_party(node.module):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def root_of(node: ast.expr) -> str | None:
    """Return the first name of a dotted expression."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def private_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            if not module.startswith("atom_platform") and any(map(is_private, module.split("."))):
                yield node.lineno, module


def private_attributes(path: Path) -> Iterator[tuple[int, str]]:
    """
    Yield the private attributes that are not the package's own.

    Those of an imported library; and those of any object, if the package defines that name nowhere.
    """
    libraries = imported_names(path)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, root_of(node.value)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr", "hasattr", "delattr")
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
        ):
            name, owner = str(node.args[1].value), root_of(node.args[0])
        else:
            continue
        if is_private(name) and (owner in libraries or name not in own_names()):
            yield node.lineno, f"{owner or '…'}.{name}"


def private_overrides(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what is private to a library's class, where a class of ours derives from it."""
    libraries = imported_names(path)
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [
            found for base in node.bases if (found := _foreign_class(base, libraries)) is not None
        ]
        for each in ast.walk(node):
            if isinstance(each, ast.FunctionDef):
                name = each.name
            elif isinstance(each, ast.Attribute) and root_of(each.value) == "self":
                name = each.attr
            else:
                continue
            if is_private(name) and any(hasattr(base, name) for base in bases):
                yield each.lineno, f"{node.name}.{name}"


def _foreign_class(base: ast.expr, libraries: dict[str, str]) -> type | None:
    """Return the class that *base* names, if a third-party library defines it."""
    root = root_of(base)
    if root not in libraries:
        return None
    dotted = libraries[root] + ast.unparse(base)[len(root) :]
    module, _, name = dotted.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    return found if isinstance(found, type) else None


@pytest.mark.parametrize(
    "path", [path for path in sources() if not fnmatch(name_of(path), COMPAT)], ids=name_of
)
def test_private_names_of_dependencies_are_in_compat_files(path: Path) -> None:
    found = {
        f"{line}: {what}"
        for search in (private_imports, private_attributes, private_overrides)
        for line, what in search(path)
    }

    assert found == set()


@pytest.mark.parametrize(
    "module", ["atom_platform", "atom_platform.settings", "atom_platform.server.hooks"]
)
def test_importing_it_loads_no_library(module: str) -> None:
    """gunicorn imports these before the metrics directory exists."""
    code = (
        f"import sys, {module}; "
        "print({'flask', 'prometheus_client', 'sqlalchemy', 'structlog'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
