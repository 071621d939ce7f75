"""Texts that say the same: equal after normalisation, or nearly so by MinHash (Broder, 1997). Imports no torch.

Rows of tables come as texts as well; numbers are rounded in both, so that a jittered copy is still a copy.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from datasketch import MinHash, MinHashLSH

NEAR = 0.8
"""From this Jaccard similarity of their character shingles on, two texts are near-duplicates."""

DIGITS = 3
"""Significant digits that numbers are rounded to."""

LONGEST = 20_000
"""Characters of a text that are compared beyond what a model reads of it."""

SHINGLE = 5
_PERMUTATIONS = 128
_BATCH = 1 << 12  # shingles hashed at a time, so that memory does not grow with a text
_WORD = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+")


def normalised(text: str) -> str:
    """Words and rounded numbers with single spaces.

    Compatibility forms, case, composition of accents, punctuation and invisible characters do not matter.
    """
    visible = "".join(each for each in unicodedata.normalize("NFKC", text) if unicodedata.category(each) != "Cf")
    words = _WORD.findall(visible.casefold())
    return " ".join(_rounded(word) if word[0].isdecimal() else word for word in words)


def _rounded(number: str) -> str:
    return f"{float(number.replace(',', '.')):.{DIGITS}g}"


@dataclass
class Pairs:
    """How many pairs of texts are equal after normalisation, and how many are near-duplicates, equal ones included."""

    exact: int = 0
    near: int = 0


class SeenTexts:
    """Texts seen so far, by owner; each new one is compared with all before it.

    Two texts are equal if what a model reads of them is, or all of it: so neither a tail that is cut off nor signs that
    push words out of what is read make another text. Near-duplicates are looked up by locality-sensitive hashing of
    what is read, which finds most of the pairs just above :data:`NEAR` and nearly all above 0.9.
    """

    def __init__(self) -> None:
        self._index = MinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS)
        self._by_key: dict[bytes, list[int]] = defaultdict(list)
        self._seen: list[tuple[str, MinHash]] = []

    def add(self, owner: str, texts: Sequence[str], read: Sequence[str]) -> dict[str, Pairs]:
        """Compare new texts with earlier ones.

        Args:
            owner: whose.
            texts: whole texts, of which the first :data:`LONGEST` characters are looked at.
            read: what the model reads of each.

        Returns:
            Pairs that the new texts form with earlier ones, by the earlier one's owner; ``owner`` itself included.
        """
        found: dict[str, Pairs] = defaultdict(Pairs)
        for text, part in zip(texts, read, strict=True):
            number, words = len(self._seen), normalised(part)
            keys = {hashlib.sha256(each.encode()).digest() for each in (words, normalised(text[:LONGEST]))}
            equal = {earlier for key in keys for earlier in self._by_key[key]}
            sketch = _sketch(words)
            near = {other for other in self._index.query(sketch) if sketch.jaccard(self._seen[other][1]) >= NEAR}
            for earlier in equal:
                found[self._seen[earlier][0]].exact += 1
            for earlier in near | equal:
                found[self._seen[earlier][0]].near += 1
            for key in keys:
                self._by_key[key].append(number)
            self._index.insert(number, sketch)
            self._seen.append((owner, sketch))
        return dict(found)


def _sketch(words: str) -> MinHash:
    sketch = MinHash(num_perm=_PERMUTATIONS)
    shingles = [words[i : i + SHINGLE].encode() for i in range(max(1, len(words) - SHINGLE + 1))]
    for start in range(0, len(shingles), _BATCH):
        sketch.update_batch(shingles[start : start + _BATCH])
    return sketch
