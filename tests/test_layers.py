"""Imports point down, and `import tomo3d` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "tomo3d"
STAGES = ("io", "preprocess", "align", "reconstruct", "restore", "quality", "segment", "measure", "graph",
          "track", "render")  # fmt: skip
LEVELS = [
    ("_version", "types", "errors"),
    ("geometry", "tables", "planning", "progress", "memory"),
    ("compute",),
    ("phantoms",),
    STAGES,
    ("report",),
    ("pipeline",),
    ("cli",),
    ("__main__",),
]
LEVEL = {name: level for level, group in enumerate(LEVELS) for name in group}
MODULES = sorted(ROOT.rglob("*.py"))


def part(path):
    """Top-level part of the package that a file belongs to."""
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path):
    """Absolute dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breach(importer, imported):
    """Why `importer` (a part) may not import `imported` (a part), or None."""
    if importer == imported:
        return None
    if importer not in LEVEL or imported not in LEVEL:
        return "a part that has no level"
    if importer in STAGES and imported in STAGES:
        return "a stage imports another stage"
    if LEVEL[imported] > LEVEL[importer]:
        return "an import points up"
    return None


@pytest.mark.parametrize(
    "path", [p for p in MODULES if part(p) != "__init__"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_point_down(path):
    for name in imports(path):
        words = name.split(".")
        if words[0] == "tomo3d" and len(words) > 1 and words[1] != "__version__":
            assert breach(part(path), words[1]) is None, f"{path} imports {name}"


def test_the_guard_sees_a_breach():
    assert breach("align", "reconstruct") == "a stage imports another stage"
    assert breach("compute", "align") == "an import points up"
    assert breach("measure", "utils") == "a part that has no level"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("cupy", ("compute/backend.py",)),
        ("dask", ("compute/blocks.py",)),
        ("numba", ("compute/kernels/",)),
        ("pyvista", ("render/",)),
        ("vtk", ("render/",)),
        ("vtkmodules", ("render/",)),
        ("matplotlib", ("render/",)),
    ],
)
def test_heavy_libraries_have_one_home(library, allowed):
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(allowed):
            assert library not in {name.split(".")[0] for name in imports(path)}, f"{place} imports {library}"


def test_import_tomo3d_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import tomo3d; seconds = time.perf_counter() - start;"
        "heavy = {'vtk', 'pyvista', 'matplotlib', 'cupy', 'dask', 'torch', 'numba', 'scipy'} & set(sys.modules);"
        "print(seconds, sorted(heavy))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split(
            " ", 1
        )
        for _ in range(3)
    ]
    assert all(heavy.strip() == "[]" for _, heavy in runs)
    assert min(float(seconds) for seconds, _ in runs) < 0.3
