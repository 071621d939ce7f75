"""Mutants of the contracts by slither's mutators, and what the Solidity tests say of each.

Run by `scripts/mutants` in slither's environment. The work goes on in a copy of the checkout, where tests too are
compiled as the contracts are shipped. A mutant is compiled by a compiler that is kept warm, into the artifact
that the tests deploy; tests that compile a library into themselves are asked last, and see the mutated source. A mutant
that no test notices, and that compiles to the shipped bytecode, is none.

Every verdict is appended to build/mutants.jsonl at once: a run that was stopped goes on where it was. A mutant is known
by its file, its line with the two around it, and the change, so what has changed is tried anew; each verdict also says
which state of all contracts it is of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from slither import Slither
from slither.core.declarations import Contract
from slither.core.expressions import BinaryOperation, TupleExpression
from slither.core.expressions.expression import Expression
from slither.slithir.operations import Binary
from slither.tools.mutator.mutators import all_mutators
from slither.tools.mutator.mutators.abstract_mutator import AbstractMutator

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build/mutants"
FORGE = ROOT / "node_modules/@foundry-rs/forge-linux-amd64/bin/forge"
DEPLOYED = ("InfluenceEscrow", "InfluenceCourt")
"""Contracts that tests deploy from their artifacts."""
CONTRACTS = ("EscrowState", "InfluenceCourt", "InfluenceEscrow")
FILES = (*sorted(f"libraries/{path.stem}" for path in (ROOT / "contracts/libraries").glob("*.sol")), *CONTRACTS)
SEED = 20261122
KILLED, SURVIVED, INVALID, EQUIVALENT = "killed", "survived", "does not compile", "same bytecode"
OPERATORS = {
    "AOR": ("+", "-", "*", "/", "%"),
    "ROR": ("<", ">", "<=", ">=", "==", "!="),
    "LOR": ("&&", "||"),
}
LEFT_OUT = {"FHR", "RR"}
"""Visibility and mutability are the compiler's business; a line that reverts is noticed wherever lines are covered."""
SAME_WITHOUT_SIGN = {("==", "<="), ("!=", ">")}
LONGEST = 900
"""Seconds, many times what the tests take."""
IN_THEMSELVES = "SettlementTest|DecryptionTest|DifferentialTest"
"""Suites that compile libraries into themselves."""
LIBRARIES_IN_TESTS = ("libraries/Settlement", "libraries/RlweDecryption")
SLOW = "InvariantsTest|LifecycleTest|ConservationTest|ComplaintWithoutFaultTest|WalkTest|SybilsTest|RequirementsTest"
"""Suites that are asked after the others."""
NEVER = ("GasTest", "test_RuntimeCodesFitTheSizeLimit|test_KeyAndProofFitTheirGas")
"""Suite and tests that are not asked: gas and size are no behaviour."""
AS_SHIPPED = "via_ir = true\noptimizer = true\noptimizer_runs = 200"
ENVIRONMENT = {
    "FOUNDRY_CODE_SIZE_LIMIT": "200000",
    "FOUNDRY_FUZZ_RUNS": "32",
    "FOUNDRY_INVARIANT_RUNS": "8",
    "FOUNDRY_INVARIANT_DEPTH": "64",
}


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one file: bytes ``start`` to ``end`` become ``new``."""

    file: str
    start: int
    end: int
    line: int
    mutator: str
    old: str
    new: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.new.encode() + source[self.end :]

    def name(self, source: bytes) -> str:
        """Survives changes elsewhere in the file."""
        lines = source.count(b"\n", 0, self.start), source.count(b"\n", 0, self.end)
        around = source.splitlines()[max(lines[0] - 1, 0) : lines[1] + 2]
        column = self.start - (source.rfind(b"\n", 0, self.start) + 1)
        identity = (self.file, around, column, self.mutator, self.old, self.new)
        return hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def copy_checkout() -> None:
    """A fresh copy with one way to compile everything and few fuzz runs; what forge has compiled stays."""
    COPY.mkdir(parents=True, exist_ok=True)
    for folder in ("contracts", "tests/contracts", "tests/differential", "scripts", "build/decryption"):
        _mirror(ROOT / folder, COPY / folder)
    if not (COPY / "node_modules").exists():
        (COPY / "node_modules").symlink_to(ROOT / "node_modules")
    settings = re.sub(
        r"(?ms)^additional_compiler_profiles.*?^\]\n|^deny [^\n]*\n", "", (ROOT / "foundry.toml").read_text()
    )
    _write(COPY / "foundry.toml", settings.replace("[profile.default]", f"[profile.default]\n{AS_SHIPPED}", 1).encode())


def _mirror(source: Path, target: Path) -> None:
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if path.relative_to(target) not in wanted:
            path.unlink()
    for relative in wanted:
        content = (source / relative).read_bytes()
        if relative.suffix == ".sol":
            content = re.sub(rb".*forge-config:.*\n", b"", content)
        _write(target / relative, content)
        shutil.copymode(source / relative, target / relative)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def forge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs forge in the copy; a mutant that never ends has status 124."""
    command, settings = [str(FORGE), *arguments], os.environ | ENVIRONMENT | environment
    try:
        return subprocess.run(
            command, cwd=COPY, env=settings, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "[FAIL] timeout()", "")


def mutants() -> list[Mutant]:
    """All mutants of slither's mutators that are not equivalent on sight, each text once."""
    shutil.rmtree(COPY / "slither", ignore_errors=True)  # what a run that was stopped has left
    built = forge("build", "contracts", "--build-info", "--out", "slither", FOUNDRY_CACHE_PATH="slither/cache")
    if built.returncode:
        sys.exit(f"the contracts do not compile: {built.stdout}{built.stderr}")
    os.chdir(COPY)
    os.environ["PATH"] = f"{FORGE.parent}:{os.environ['PATH']}"
    compiled = Slither(".", ignore_compile=True, foundry_out_directory="slither")
    kinds = [kind for kind in vars(all_mutators).values() if isinstance(kind, type) and kind.NAME not in LEFT_OUT]
    found: dict[bytes, Mutant] = {}
    for unit in compiled.compilation_units:
        for contract in unit.contracts:
            path = Path(contract.source_mapping.filename.absolute)
            file = next((file for file in FILES if path == COPY / "contracts" / f"{file}.sol"), None)
            if file is None:
                continue
            source = path.read_bytes()
            for kind in kinds:
                if kind.NAME in OPERATORS:
                    changes = _exchanged(contract, file, kind.NAME, source)
                else:
                    changes = _patched(kind(unit, 0, "", "", contract, None, False, COPY, []), file)
                for mutant in changes:
                    text = mutant.applied(source)
                    if text != source:
                        found.setdefault(file.encode() + text, mutant)
    shutil.rmtree(COPY / "slither")
    return sorted(found.values())


def _patched(mutator: AbstractMutator, file: str) -> Iterator[Mutant]:
    for patches in mutator._mutate().get("patches", {}).values():
        for patch in patches:
            at = patch["start"], patch["end"], patch["line_number"]
            yield Mutant(file, *at, mutator.NAME, patch["old_string"], patch["new_string"])


def _exchanged(contract: Contract, file: str, name: str, source: bytes) -> Iterator[Mutant]:
    """Each operator in turn by each other of its kind, where it stands.

    slither's own mutators of these names split a whole statement at the operator, which garbles those that hold two.
    Left out is what changes nothing: `<= 0` for `== 0`, and `> 0` for `!= 0`, of what has no sign.
    """
    for function in contract.functions_and_modifiers_declared:
        expressions = {ir.expression for node in function.nodes for ir in node.irs if isinstance(ir, Binary)}
        for whole in [each for each in expressions if each is not None]:
            for expression in _binary(whole):
                left, right = expression.expression_left.source_mapping, expression.expression_right.source_mapping
                start, end, operator = left.start + left.length, right.start, str(expression.type)
                old = source[start:end].decode()
                if operator not in OPERATORS[name] or old.strip(" \n()") != operator:
                    continue
                zero = source[end : right.start + right.length] == b"0"
                for other in OPERATORS[name]:
                    if other != operator and not (zero and (operator, other) in SAME_WITHOUT_SIGN):
                        yield Mutant(file, start, end, left.lines[-1], name, old, old.replace(operator, other))


def _binary(expression: Expression) -> Iterator[BinaryOperation]:
    if isinstance(expression, BinaryOperation):
        yield expression
        yield from _binary(expression.expression_left)
        yield from _binary(expression.expression_right)
    elif isinstance(expression, TupleExpression):
        for each in expression.expressions:
            yield from _binary(each)


def in_even_order(all_mutants: list[Mutant]) -> Iterator[Mutant]:
    """Shuffled by a fixed seed, so that wherever a run stops it has tried about the same share of every file."""
    by_file: dict[str, list[Mutant]] = {}
    for mutant in all_mutants:
        by_file.setdefault(mutant.file, []).append(mutant)
    placed = []
    for file, members in by_file.items():
        random.Random(f"{SEED} {file}").shuffle(members)
        placed += [((place + 0.5) / len(members), mutant) for place, mutant in enumerate(members)]
    return (mutant for _, mutant in sorted(placed))


class Compiler:
    """Bytecode from sources, by one compiler process kept warm."""

    def __init__(self) -> None:
        self._sources: dict[str, dict[str, str]] = {}
        waiting = ["contracts/InfluenceEscrow.sol"]
        while waiting:
            path = waiting.pop()
            if path not in self._sources:
                self._sources[path] = {"content": (COPY / path).read_text()}
                for name in re.findall(r"import[^\"]*\"([^\"]+)\"", self._sources[path]["content"]):
                    near = os.path.normpath(Path(path).parent / name)
                    waiting.append(near if name.startswith(".") else f"node_modules/{name}")
        self._process = subprocess.Popen(
            ["node", str(ROOT / "scripts/solc"), "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def bytecodes(self, file: str, source: bytes) -> dict[str, str] | None:
        """Creation codes of DEPLOYED with this source in place of the file's; None if it does not compile."""
        assert self._process.stdin
        assert self._process.stdout
        settings = {
            "remappings": ["@openzeppelin/contracts/=node_modules/@openzeppelin/contracts/"],
            "evmVersion": "shanghai",
            "optimizer": {"enabled": True, "runs": 200},
            "viaIR": True,
            "metadata": {"bytecodeHash": "none"},
            "outputSelection": {f"contracts/{name}.sol": {name: ["evm.bytecode.object"]} for name in DEPLOYED},
        }
        sources = self._sources | {f"contracts/{file}.sol": {"content": source.decode()}}
        request = {"language": "Solidity", "sources": sources, "settings": settings}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        compiled = json.loads(self._process.stdout.readline())
        if any(problem["severity"] == "error" for problem in compiled.get("errors", [])):
            return None
        found = compiled["contracts"]
        return {name: str(found[f"contracts/{name}.sol"][name]["evm"]["bytecode"]["object"]) for name in DEPLOYED}


class Judge:
    """Asks the tests about mutants; the copy has been built unchanged."""

    def __init__(self) -> None:
        self._compiler = Compiler()
        self._artifacts = {name: COPY / f"out/{name}.sol/{name}.json" for name in DEPLOYED}
        self._unchanged = {name: path.read_text() for name, path in self._artifacts.items()}
        self._codes = {
            name: json.loads(text)["bytecode"]["object"].removeprefix("0x") for name, text in self._unchanged.items()
        }

    def verdict_on(self, mutant: Mutant, source: bytes) -> tuple[str, str]:
        """The verdict, and the first test that failed."""
        mutated = mutant.applied(source)
        codes = self._compiler.bytecodes(mutant.file, mutated)
        if codes is None:
            return INVALID, ""
        if codes == self._codes:
            return EQUIVALENT, ""
        try:
            for name, code in codes.items():
                artifact = json.loads(self._unchanged[name])
                artifact["bytecode"]["object"] = "0x" + code
                self._artifacts[name].write_text(json.dumps(artifact))
            failed = _failing("--no-match-contract", f"{SLOW}|{NEVER[0]}") or _failing("--match-contract", SLOW)
        finally:
            for name, path in self._artifacts.items():
                path.write_text(self._unchanged[name])
        if failed:
            return KILLED, failed
        if mutant.file in LIBRARIES_IN_TESTS:
            path = COPY / "contracts" / f"{mutant.file}.sol"
            path.write_bytes(mutated)
            try:
                failed = _failing("--match-contract", IN_THEMSELVES)
            finally:
                path.write_bytes(source)
                forge("build")
        return (KILLED, failed) if failed else (SURVIVED, "")


def _failing(*selection: str) -> str:
    """Name of a test that fails, "" if none does."""
    ended = forge("test", "--fail-fast", "--no-match-test", NEVER[1], *selection)
    if not ended.returncode:
        return ""
    failed = re.search(r"\[FAIL[^\n]*?\] (\w+)\(", ended.stdout)
    return failed[1] if failed else "setUp"


def check_unchanged() -> None:
    """That everything compiles and passes without a mutation; once for each state of contracts and tests."""
    texts = [path.read_bytes() for folder in ("contracts", "tests") for path in sorted((COPY / folder).rglob("*.sol"))]
    state, passed = hashlib.sha256(b"".join(texts)).hexdigest(), COPY / "passed"
    if passed.exists() and passed.read_text() == state:
        forge("build")  # so that no mutant's tests build anything over its artifact
        return
    print("compiles and passes unchanged?", flush=True)
    ended = forge("test", "--fail-fast", "--no-match-contract", NEVER[0], "--no-match-test", NEVER[1])
    if ended.returncode:
        sys.exit(f"the tests fail without a mutation:\n{ended.stdout[-3000:]}{ended.stderr}")
    passed.write_text(state)


def clopper_pearson(killed: int, tried: int) -> tuple[float, float]:
    """95 % interval of a share, from a sample of all; from one that takes of every file its part it covers more."""

    def above(count: int, share: float) -> float:
        """Probability that more than ``count`` of ``tried`` are killed."""
        ways = [math.lgamma(tried + 1) - math.lgamma(k + 1) - math.lgamma(tried - k + 1) for k in range(count + 1)]
        return 1 - sum(
            math.exp(way + k * math.log(share) + (tried - k) * math.log1p(-share)) for k, way in enumerate(ways)
        )

    def share_at(probability: float, count: int) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            share = (low + high) / 2
            low, high = (share, high) if above(count, share) < probability else (low, share)
        return low

    return share_at(0.025, killed - 1) if killed else 0.0, share_at(0.975, killed) if killed < tried else 1.0


def summary(
    all_mutants: list[Mutant], sources: dict[str, bytes], verdicts: dict[str, dict[str, object]]
) -> dict[str, object]:
    """Counts by file, and the survivors."""
    rows: dict[str, dict[str, int]] = {}
    survivors = []
    for mutant in all_mutants:
        row = rows.setdefault(mutant.file, {"generated": 0, KILLED: 0, SURVIVED: 0, EQUIVALENT: 0, INVALID: 0})
        row["generated"] += 1
        verdict = verdicts.get(mutant.name(sources[mutant.file]))
        if verdict:
            row[str(verdict["verdict"])] += 1
            if verdict["verdict"] == SURVIVED:
                survivors.append(asdict(mutant) | {"contracts": verdict["contracts"]})
    killed = sum(row[KILLED] for row in rows.values())
    tried = killed + len(survivors)
    done = tried + sum(row[INVALID] + row[EQUIVALENT] for row in rows.values())
    return {
        "files": rows,
        "generated": len(all_mutants),
        "sampled": done / len(all_mutants),
        "seed": SEED,
        "valid": tried,
        "killed": killed,
        "share": killed / tried if tried else 0.0,
        "clopper_pearson95": clopper_pearson(killed, tried),
        "survivors": survivors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write counts and survivors here")
    parser.add_argument("--at-most", type=int, metavar="N", help="try no more than N further mutants")
    parser.add_argument("--file", action="append", choices=FILES, help="only mutants of this file (repeatable)")
    parser.add_argument("--survivors", action="store_true", help="try the survivors again, after tests were added")
    options = parser.parse_args()

    copy_checkout()
    sources = {file: (COPY / "contracts" / f"{file}.sol").read_bytes() for file in FILES}
    state = hashlib.sha256(b"".join(sources.values())).hexdigest()[:16]
    everything = mutants()
    log = ROOT / "build/mutants.jsonl"
    verdicts: dict[str, dict[str, object]] = {}
    if log.exists():
        verdicts = {row["name"]: row for row in map(json.loads, log.read_text().splitlines())}

    check_unchanged()
    judge = Judge()
    left = options.at_most
    for mutant in in_even_order(everything):
        name = mutant.name(sources[mutant.file])
        known = verdicts.get(name)
        wanted = known and known["verdict"] == SURVIVED if options.survivors else not known
        if not wanted:
            continue
        if options.file and mutant.file not in options.file:
            continue
        if left == 0:
            break
        left = None if left is None else left - 1
        verdict, test = judge.verdict_on(mutant, sources[mutant.file])
        verdicts[name] = {"name": name, "verdict": verdict, "test": test, "contracts": state, **asdict(mutant)}
        with log.open("a") as lines:
            lines.write(json.dumps(verdicts[name]) + "\n")
        print(
            f"{verdict:16} {mutant.file}:{mutant.line} {mutant.mutator} {mutant.old!r} -> {mutant.new!r} {test}",
            flush=True,
        )

    result = summary(everything, sources, verdicts) | {"contracts": state}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    low, high = result["clopper_pearson95"]  # type: ignore[misc]
    print(
        f"{result['killed']} of {result['valid']} mutants killed, {result['share']:.1%} "
        f"(95 %: {low:.1%} to {high:.1%}); {result['sampled']:.1%} of {result['generated']} tried, seed {SEED}"
    )


if __name__ == "__main__":
    main()
