"""Records that say the same. Imports no torch.

Texts: equal after normalisation, or nearly so by MinHash (Broder, 1997). Rows of tables: equal after rounding, or
nearly so in every feature. Numbers are rounded in both, so that a jittered copy is still a copy.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from datasketch import MinHash, MinHashLSH
from scipy.spatial import KDTree

from tip_exchange.influence.columns import DIGITS, Columns
from tip_exchange.influence.records import Record, TableRecord, TextRecord

NEAR = 0.8
"""From this Jaccard similarity of their character shingles on, two texts are near-duplicates."""

NEAR_FEATURE = 0.05
"""Rows are near-duplicates if no feature differs by more: a number by a twentieth of its deviation, nothing else."""

CASE_MIX = 20
"""How many times as often as the buyer's own rows those of two sellers with one narrow case mix may be equal."""

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


class SeenRecords(Protocol):
    """Records seen so far, by owner; each new one is compared with all before it.

    ``likelier`` is how many times as likely as between two sets of the buyer's own it may be that records of two
    sellers are equal, though neither copied.
    """

    likelier: ClassVar[int]

    def add(self, owner: str, records: Sequence[Record]) -> dict[str, Pairs]:
        """Compare new records with earlier ones.

        Args:
            owner: whose.
            records: which the model can read.

        Returns:
            Pairs that the new records form with earlier ones, by the earlier one's owner; ``owner`` itself included.
        """


class SeenTexts:
    """:class:`SeenRecords` of texts.

    Two texts are equal if what a model reads of them is, or all of it: so neither a tail that is cut off nor signs that
    push words out of what is read make another text. Near-duplicates are looked up by locality-sensitive hashing of
    what is read, which finds most of the pairs just above :data:`NEAR` and nearly all above 0.9.
    """

    likelier: ClassVar[int] = 1

    def __init__(self, parts_read: Callable[[Sequence[str]], list[str]]) -> None:
        self._parts_read = parts_read
        """What the model reads of each text."""
        self._index = MinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS)
        self._by_key: dict[bytes, list[int]] = defaultdict(list)
        self._seen: list[tuple[str, MinHash]] = []

    def add(self, owner: str, records: Sequence[Record]) -> dict[str, Pairs]:
        """See :class:`SeenRecords`; of a text its first :data:`LONGEST` characters are looked at."""
        texts = [record.text for record in records if isinstance(record, TextRecord)]
        found: dict[str, Pairs] = defaultdict(Pairs)
        for text, part in zip(texts, self._parts_read(texts), strict=True):
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


class SeenRows:
    """:class:`SeenRecords` of rows of one table; labels do not matter."""

    likelier: ClassVar[int] = CASE_MIX

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._seen: list[tuple[str, list[tuple[str, ...]], KDTree]] = []

    def add(self, owner: str, records: Sequence[Record]) -> dict[str, Pairs]:
        """See :class:`SeenRecords`; rows are equal if they are after rounding to a few significant digits."""
        rows = [record for record in records if isinstance(record, TableRecord)]
        keys, tree = [self._columns.rounded(row) for row in rows], KDTree(self._columns.features(rows))
        places: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            places[key].append(place)
        self._seen.append((owner, keys, tree))
        found: dict[str, Pairs] = defaultdict(Pairs)
        for earlier, others, other_tree in self._seen:
            same = other_tree is tree
            equal = {(i, j) for i, key in enumerate(others) for j in places.get(key, ()) if i < j or not same}
            close = enumerate(other_tree.query_ball_tree(tree, NEAR_FEATURE, p=float("inf")))
            near = {(i, j) for i, indices in close for j in indices if i < j or not same}
            if equal or near:
                found[earlier].exact += len(equal)
                found[earlier].near += len(near | equal)
        return dict(found)


def _sketch(words: str) -> MinHash:
    sketch = MinHash(num_perm=_PERMUTATIONS)
    shingles = [words[i : i + SHINGLE].encode() for i in range(max(1, len(words) - SHINGLE + 1))]
    for start in range(0, len(shingles), _BATCH):
        sketch.update_batch(shingles[start : start + _BATCH])
    return sketch
