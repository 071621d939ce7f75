"""The direction of imports, and who alone may import the heavy libraries."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tip_exchange

PACKAGE = Path(tip_exchange.__file__).parent
LAYERS = [
    {"types", "errors"},
    {"commitments", "settlement", "files", "processes"},
    {"influence", "encryption", "chain", "storage"},
    {"delivery"},
    {"roles"},
    {"cli"},
    {"__main__"},
]
"""Lowest first. A part imports itself and lower layers, never a neighbour."""
ONLY_IN = {
    "torch": "influence",
    "transformers": "influence",
    "tenseal": "encryption",
    "web3": "chain",
    "eth_account": "chain",
    "solcx": "chain",
}


def imports(path: Path, root: Path) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever in it, relative imports made absolute."""
    package = [root.name, *path.relative_to(root).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            name = node.args[0]
            yield str(name.value) if isinstance(name, ast.Constant) else f"(computed: {ast.unparse(name)})"


def violations(root: Path) -> list[str]:
    """Every import of the package at ``root`` that breaks a rule, as a sentence."""
    ranks = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
    found = []
    for path in sorted(root.rglob("*.py")):
        where = path.relative_to(root)
        part = where.parts[0].removesuffix(".py")
        if part != "__init__" and part not in ranks:
            found.append(f"{where}: part {part} has no layer")
            continue
        for name in imports(path, root):
            first, *rest = name.split(".")
            if first in ONLY_IN and ONLY_IN[first] != part:
                found.append(f"{where} imports {first}, which only {ONLY_IN[first]} may")
            if name.startswith("(computed"):
                found.append(f"{where} imports a name that is not written out {name}")
            if first != root.name or not rest or rest[0] == part or rest[0] == "__version__":
                continue
            if part == "__init__" or ranks.get(rest[0], len(LAYERS)) >= ranks[part]:
                found.append(f"{where} imports {name}, which is not below it")
    return found


def test_imports_go_down_and_heavy_libraries_stay_in_their_part() -> None:
    assert violations(PACKAGE) == []


def test_each_heavy_library_is_where_the_design_has_it() -> None:
    """Else the rule above would hold of nothing."""
    seen = {(name.split(".")[0], path.parent.name) for path in PACKAGE.rglob("*.py") for name in imports(path, PACKAGE)}
    assert ("tenseal", "encryption") in seen
    assert ("web3", "chain") in seen


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("roles/buyer.py", "import torch.nn as nn"),
        ("influence/a.py", "from tenseal import sealapi"),
        ("chain/a.py", "def f():\n    import transformers"),
        ("storage/a.py", "from web3 import Web3"),
        ("cli/a.py", "import importlib\nimportlib.import_module('solcx')"),
        ("cli/a.py", "import importlib\nname = 'sol' + 'cx'\nimportlib.import_module(name)"),
        ("encryption/a.py", "from tip_exchange.influence import projection"),
        ("encryption/a.py", "from ..chain import escrow"),
        ("storage/a.py", "from .. import chain"),
        ("chain/a.py", "from tip_exchange.delivery.complaint import Complaint"),
        ("commitments.py", "from tip_exchange import settlement"),
        ("types.py", "from tip_exchange.errors import TipError"),
        ("errors.py", "import tip_exchange.commitments"),
        ("chain/a.py", "import tip_exchange.roles.buyer"),
        ("roles/a.py", "from tip_exchange.cli.main import main"),
        ("__init__.py", "from tip_exchange.roles import buyer"),
        ("utils.py", ""),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, file: str, line: str) -> None:
    root = tmp_path / "tip_exchange"
    path = root / file
    path.parent.mkdir(parents=True)
    path.write_text(line, "utf-8")
    assert len(violations(root)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("roles/buyer.py", "from tip_exchange.encryption.query import encrypted_query\nfrom . import market"),
        ("encryption/a.py", "import tenseal.sealapi\nfrom ..commitments import keccak\nfrom .wire import Query"),
        ("delivery/a.py", "from tip_exchange.encryption.sealed_stream import Sealer"),
        ("chain/abi/a.py", "import web3\nfrom ..escrow import x\nfrom ... import types"),
        ("cli/a.py", "from tip_exchange import __version__"),
    ],
)
def test_an_allowed_import_is_not(tmp_path: Path, file: str, line: str) -> None:
    root = tmp_path / "tip_exchange"
    path = root / file
    path.parent.mkdir(parents=True)
    path.write_text(line, "utf-8")
    assert violations(root) == []
