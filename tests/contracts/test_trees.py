"""The trees of the escrow's entry points are complete; every leaf, and every invariant's, is a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INTERFACES = [HERE.parents[1] / f"contracts/interfaces/{name}.sol" for name in ("IEscrowSteps", "ICourtSteps")]
TREES = sorted((HERE / "trees").glob("*.tree"))
PAYMENTS = {"GasTooLow"}
"""What every step that pays may revert with."""
_FUNCTION = re.compile(r"((?:    ///[^\n]*\n)+)    function (\w+)\(([^;]*);")


def entry_points() -> dict[str, str]:
    """Documentation of each step, by name."""
    found = [step for interface in INTERFACES for step in _FUNCTION.findall(interface.read_text())]
    return {name: re.sub(r"\s*\n\s*///\s*", " ", text) for text, name, rest in found if " view" not in rest}


def declared_reverts(name: str) -> set[str]:
    """Errors that the interface says the function reverts with."""
    sentence = re.search(r"Reverts with ((?:\w+(?: \([^)]*\))?, )*\w+(?: \([^)]*\))?)\.", entry_points()[name])
    return set(re.findall(r"\w+", re.sub(r"\([^)]*\)", "", sentence[1]))) if sentence else set()


def nodes(tree: Path) -> list[tuple[int, str]]:
    """Depth and text of every line below the root."""
    return [(line.index("── ") // 4, line.split("── ", 1)[1]) for line in tree.read_text().splitlines()[1:]]


def test_every_entry_point_has_a_tree() -> None:
    assert {tree.stem for tree in TREES} == set(entry_points())
    for tree in TREES:
        assert tree.read_text().splitlines()[0] == tree.stem


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.stem)
def test_every_leaf_is_a_test(tree: Path) -> None:
    tests = set(re.findall(r"function ((?:test|invariant)\w+)\(", "".join(p.read_text() for p in HERE.glob("*.t.sol"))))
    listed = nodes(tree)
    for (depth, text), (following, _) in zip(listed, [*listed[1:], (0, "")], strict=True):
        if following <= depth:
            assert text in tests, f"{tree.name}: there is no test {text}"
        else:
            assert text.startswith(("when ", "it ")), f"{tree.name}: {text} is neither a state nor a requirement"


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.stem)
def test_a_tree_holds_the_reverts_of_the_interface_and_no_other(tree: Path) -> None:
    listed = {text.removeprefix("it reverts with ") for _, text in nodes(tree) if text.startswith("it reverts with ")}
    assert listed - PAYMENTS == declared_reverts(tree.stem) - PAYMENTS


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.stem)
def test_a_revert_is_expected_by_a_test_that_names_it(tree: Path) -> None:
    """By the test itself, or by a function of its file or of the tests' bases that it calls for it."""
    bases = "".join(
        (HERE / f"{name}.sol").read_text() for name in ("OrderTest", "EscrowTest", "DisputeTest", "DeliveryTest")
    )
    sources = [path.read_text() + bases for path in HERE.glob("*.t.sol")]
    listed = nodes(tree)
    for place, (depth, text) in enumerate(listed):
        if not text.startswith("it reverts with "):
            continue
        error = text.removeprefix("it reverts with ")
        for below, test in listed[place + 1 :]:
            if below <= depth:
                break
            assert any(_names(source, test, error) for source in sources), f"{test} does not expect {error}"


def test_every_invariant_is_checked_by_a_test_that_exists() -> None:
    text = (HERE.parents[1] / "docs/invariants.md").read_text()
    sources = [*HERE.glob("*.t.sol"), *(HERE.parent / "symbolic").glob("*.t.sol")]
    defined = set(re.findall(r"(?:function|contract) (\w+)", "".join(path.read_text() for path in sources)))
    rows = re.findall(r"^\| \d+ \|.*\| (.+) \|$", text, re.MULTILINE)
    assert len(rows) >= 28
    for row in rows:
        names = re.findall(r"`([^`]+)`", row)
        assert names
        for name in names:
            assert name in defined or (HERE.parents[1] / name).exists(), f"docs/invariants.md: there is no {name}"


def _names(source: str, test: str, error: str) -> bool:
    bodies = dict(re.findall(r"\n    function (\w+)\((.*?\n    )}", source, re.DOTALL))
    if test not in bodies:
        return False
    called = [body for name, body in bodies.items() if f"{name}(" in bodies[test]]
    return any(error in body for body in [bodies[test], *called])
