"""Where the demo plays: every role is a process of its own, with its own home and wallet, on a local chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

console = Console(stderr=True)


class Stage:
    """The demo's folder, chain and clocks."""

    def __init__(self, folder: Path, chain: str) -> None:
        self.folder = folder
        self.chain = chain
        self.seconds: dict[str, float] = {}
        self.gas: dict[str, int] = {}
        password = folder / "password"
        password.write_text("correct horse battery staple\n")
        # Wallets that hold nothing of worth, unlocked dozens of times.
        self.environment = os.environ | {"TIP_PASSWORD_FILE": str(password), "TIP_SCRYPT_N": "4096"}
        self.environment |= {"TIP_STORAGE": str(folder / "storage"), "TIP_CHAIN_FOLDER": str(folder / "chain")}

    def tip(self, role: str, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run one `tip` process in the role's home; its JSON answer."""
        answer: dict[str, Any] = json.loads(self.text(role, *arguments, "--json", **environment))
        return answer

    def text(self, role: str, *arguments: str, **environment: str) -> str:
        """Run one `tip` process in the role's home; what it prints."""
        done = self._run(role, *arguments, **environment)
        if done.returncode:
            said = done.stderr + done.stdout
            raise SystemExit(f"{role}: tip {' '.join(arguments)} ended with {done.returncode}\n{said}")
        return done.stdout

    def refused(self, role: str, *arguments: str) -> str:
        """Run one `tip` process that has to end with status 1; what it prints."""
        done = self._run(role, *arguments)
        if done.returncode != 1:
            raise SystemExit(f"{role}: tip {' '.join(arguments)} ended with {done.returncode}, not 1\n{done.stderr}")
        return done.stdout or done.stderr

    def say(self, sentence: str) -> None:
        """Tell what happens."""
        console.print(f"[bold]{sentence}[/bold]")

    def _run(self, role: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tip_exchange", *arguments]
        settings = self.environment | {"TIP_HOME": str(self.folder / role)} | environment
        return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)

    def spend(self, step: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Book a step's gas."""
        self.gas[step] = self.gas.get(step, 0) + answer["gas"]
        return answer

    @contextmanager
    def timed(self, step: str, sentence: str) -> Any:
        """Say what happens, and how long it took."""
        console.print(f"[bold]{sentence}[/bold]")
        start = time.monotonic()
        yield
        self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - start, 2)


def side_by_side(work: Callable[[str], Any], names: Sequence[str]) -> dict[str, Any]:
    """Run one process per name, two at a time: as many as the machine has cores."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))
