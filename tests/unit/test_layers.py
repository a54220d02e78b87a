"""Floors of the house: imports go down only, and in no circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"

# From the ground up. What stands on one floor does not know what stands beside it, either.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("app",),  # the version
    ("app.pipeline",),
    (
        "app.storage",
        "app.output",
        "app.settings",
        "app.logs",
        "app.metrics",
        "app.keys",
        "app.samples",
        "app.client",
        "app.background",
        "app.memory",
    ),
    ("app.jobs", "app.study_folder", "app.study_results", "app.networks"),
    ("app.api", "app.study_run", "app.parts", "app.scale"),
    ("app.main", "app.protocol"),
    ("app.server", "app.analyze", "app.worker"),
    ("app.private_service",),
    ("app.demo", "app.study"),
    ("app.__main__",),
)
WEB_AND_STORE = {
    "fastapi", "starlette", "uvicorn", "httpx", "pydantic", "pydantic_settings", "sqlalchemy",
    "prometheus_client", "python_multipart", "pythonjsonlogger", "anyio", "asyncio",
}  # fmt: skip
MODULES = sorted(APP.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {name_of(path) for path in MODULES}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names} & KNOWN
            outer = {module for alias in node.names if f"{module}.{alias.name}" not in KNOWN}
            found.update(inner | outer)
    return found


def floor_of(module: str) -> tuple[int, str]:
    """The floor that a module stands on, and the part of the house it belongs to."""
    fits = [
        (len(part), height, part)
        for height, floor in enumerate(FLOORS)
        for part in floor
        if module == part or (part != "app" and module.startswith(f"{part}."))
    ]
    assert fits, f"{module} stands on no floor"
    _, height, part = max(fits)
    return height, part


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    height, part = floor_of(name_of(path))
    for imported in imports_of(path):
        if imported == "app" or imported.startswith("app."):
            below, other = floor_of(imported)
            assert other == part or below < height, f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", sorted((APP / "pipeline").glob("*.py")), ids=name_of)
def test_the_pipeline_knows_neither_web_nor_store(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & WEB_AND_STORE


def test_there_is_no_circle() -> None:
    graph = {name_of(path): imports_of(path) & KNOWN for path in MODULES}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " imports ".join((*above, module))
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_test_sees_an_upward_import(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from app.jobs import queue\n    import app.api.edge\n")
    assert imports_of(file) == {"app.jobs.queue", "app.api.edge"}
    assert floor_of("app.api.edge")[0] > floor_of("app.jobs.queue")[0]
