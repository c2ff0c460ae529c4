"""Rules of the architecture that a reader relies on: who imports whom, what loads an engine, what is never called."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.llm.transport_kind import TRANSPORTS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "platform" / "assay"
ENGINES = {"deepspeed", "mlflow", "peft", "ray", "torch", "transformers", "vllm", "sentence_transformers"}
HEAVY = {"scipy", "sklearn", "openai", "matplotlib", "datasets", "sqlalchemy"}


def is_engine_file(path: Path) -> bool:
    return (path.stem.startswith(("ray_", "mlflow_")) and path.stem != "ray_environment") or path.stem.endswith(
        "_engine"
    )


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted(PACKAGE.rglob("*.py"))
PURE = [module_name(path) for path in SOURCES if not is_engine_file(path) and path.stem != "__main__"]


def test_platform_is_a_path_entry_and_no_package() -> None:
    assert not (PACKAGE.parent / "__init__.py").exists()
    import platform

    assert hasattr(platform, "python_version")


def test_no_pure_module_loads_an_engine() -> None:
    code = (
        "import importlib, sys\n"
        f"engines = {sorted(ENGINES)}\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    loaded = [engine for engine in engines if engine in sys.modules]\n"
        "    assert not loaded, f'{name} loads {loaded}'\n"
    )
    run = subprocess.run([sys.executable, "-c", code, *PURE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr.strip().splitlines()[-1]


LIGHT = ("assay.cli", "assay.studies.planning.estimate", "assay.studies.spec", "assay.store")


@pytest.mark.parametrize("module", LIGHT)
def test_core_planner_and_cli_start_light(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (ENGINES | HEAVY) & set(run.stdout.split())


def test_nothing_runs_text_as_code() -> None:
    """No eval, exec or pickle on anything, and no torch or YAML loader that could run what a file holds."""
    banned_names = {"eval", "exec", "compile", "__import__"}
    banned_calls = {"pickle.load", "pickle.loads", "torch.load", "yaml.load", "yaml.unsafe_load"}
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and called(node.func) in banned_names | banned_calls:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} calls {called(node.func)}")
    assert not found


def called(function: ast.expr) -> str:
    """`name` or `module.name` of what is called; empty where it is neither."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def test_remote_code_is_never_trusted() -> None:
    for path in SOURCES:
        assert "trust_remote_code=True" not in path.read_text(encoding="utf-8"), path


def test_import_contracts_hold() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout


DESIGN_CLASSES = {
    *("DesignBase", "HoldOutGrid", "MixtureGrid", "ModelsGrid", "PreferenceGrid", "SourceGrid", "TargetGrid"),
    *("TransferGrid", "WeightGrid"),
}


def asked_designs(text: str) -> list[int]:
    """Lines that compare a design's name, or look for its class."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Compare, ast.Match)):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.subject]
            if any(isinstance(side, (ast.Attribute, ast.Name)) and _last(side) == "design" for side in sides):
                lines.append(node.lineno)
        if isinstance(node, ast.Call) and called(node.func) in ("isinstance", "issubclass", "type"):
            names = {_last(part) for argument in node.args for part in ast.walk(argument)}
            if names & DESIGN_CLASSES or ("grid" in names and called(node.func) == "type"):
                lines.append(node.lineno)
        if isinstance(node, ast.MatchClass) and _last(node.cls) in DESIGN_CLASSES:
            lines.append(node.lineno)
    return lines


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize(
    "text", ["if study.grid.design == 'weights': pass", "isinstance(study.grid, WeightGrid)", "type(grid)"]
)
def test_a_question_which_design_it_is_would_be_seen(text: str) -> None:
    assert asked_designs(text)


def test_every_design_is_looked_for() -> None:
    from assay.studies import designs

    assert {name for name in designs.__all__ if name not in ("Design", "SHIPPED_DESIGNS")} < DESIGN_CLASSES


def test_nothing_outside_of_the_designs_asks_which_one_it_is() -> None:
    inside = PACKAGE / "studies" / "designs"
    found = {path: asked_designs(path.read_text(encoding="utf-8")) for path in SOURCES if inside not in path.parents}
    assert not {str(path.relative_to(PACKAGE)): lines for path, lines in found.items() if lines}
    templates = [path for path in PACKAGE.rglob("*.jinja") if "design ==" in path.read_text(encoding="utf-8")]
    assert not templates


KIND_WORDS = {"is_ifs_study", "IfsStudy", "IfsModelStudies", "TrainedStudies", "KINDS"}
"""What one would ask by which kind of study it is."""
ASKS_KINDS = {"commands/kinds/known.py", "commands/kinds/ifs_models.py", "commands/kinds/trained.py", "commands/ifs.py"}
"""Where kinds are told apart, and what is of one kind alone."""


def asked_kinds(text: str) -> list[int]:
    """Lines that name a kind of studies, or compare one."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            words = {side.value for side in (node.left, *node.comparators) if isinstance(side, ast.Constant)}
            if "ifs_models" in words:
                lines.append(node.lineno)
        if isinstance(node, (ast.Name, ast.Attribute, ast.alias)):
            name = node.name if isinstance(node, ast.alias) else _last(node)
            if name in KIND_WORDS:
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "text", ["if data['kind'] == 'ifs_models': pass", "is_ifs_study(name)", "isinstance(s, IfsStudy)"]
)
def test_a_question_which_kind_of_study_it_is_would_be_seen(text: str) -> None:
    assert asked_kinds(text)


def test_no_command_asks_which_kind_of_study_it_has() -> None:
    doors = [PACKAGE / "cli.py", *(PACKAGE / "commands").rglob("*.py")]
    found = {path.relative_to(PACKAGE).as_posix(): asked_kinds(path.read_text(encoding="utf-8")) for path in doors}
    assert {place: lines for place, lines in found.items() if lines and place not in ASKS_KINDS} == {}


MOST_PARAMETERS = 8


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def test_no_function_has_more_than_eight_parameters() -> None:
    found = []
    for path, node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = [argument for argument in every if argument.arg not in ("self", "cls")]
            if len(own) > MOST_PARAMETERS:
                found.append(f"{module_name(path)}.{node.name}: {len(own)}")
    assert not found, "one value for what belongs together"


MOST_FILES = 30


def test_no_folder_holds_more_than_thirty_files() -> None:
    folders = {path.parent for path in SOURCES}
    wide = {folder.name: sum(1 for path in folder.glob("*.py")) for folder in folders}
    assert {name: files for name, files in wide.items() if files > MOST_FILES} == {}


def test_nothing_asks_which_transport_it_is() -> None:
    """What a transport needs is a property of its kind; to add one touches no place that uses them."""
    found = []
    for path, node in nodes():
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            names = {side.value for side in sides if isinstance(side, ast.Constant)} & set(TRANSPORTS)
            if names and any("transport" in ast.unparse(side) for side in sides):
                found.append(f"{module_name(path)}:{node.lineno}: {ast.unparse(node)}")
    assert not found
