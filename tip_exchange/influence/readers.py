"""How models read records: texts through a tokenizer, rows of tables through columns.

Either way a record is one block of numbers or more: token ids, or features. What a model folder holds beside weights
and settings is its reader's file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tip_exchange.errors import DataError, ModelError
from tip_exchange.influence.architectures import CAUSAL, SHIFTED_POSITIONS, TABLES, configuration
from tip_exchange.influence.columns import Columns
from tip_exchange.influence.records import Record, TableRecord, TextRecord, read_records
from tip_exchange.influence.specification import MAX_LENGTH, Valuation

Block = Sequence[int] | NDArray[np.float32]
"""Token ids, or features."""

_OF_TEXTS = ("max_length", "max_blocks", "per_token", "text_column")


class Reader(Protocol):
    """One of the two below."""

    @property
    def dtype(self) -> torch.dtype:
        """Of a block's numbers."""

    @property
    def padding(self) -> int:
        """What a shorter block is filled up with; padded positions never reach a loss or a gradient."""

    def check(self, path: Path) -> None:
        """Check that the model of the folder takes what this reads; ModelError if not."""

    def records(self, path: Path) -> list[Record]:
        """Records of a file of one's own; DataError if it cannot be used, see :mod:`.records` and :mod:`.columns`."""

    def unusable(self, record: Record) -> str:
        """Why a counterparty's record is none for this model, whatever its label; "" if it is one."""

    def blocks(self, records: Sequence[Record]) -> Sequence[Sequence[Block]]:
        """What the model reads of each record, in the order given: one block or more.

        Raises:
            DataError: a record is of the other kind, or of another table.
        """


@dataclass(frozen=True)
class TextReader:
    """Token ids, at most ``max_length`` a block."""

    architecture: str
    config: Mapping[str, Any]
    valuation: Valuation
    tokenizer: Tokenizer = field(repr=False)
    FILE: ClassVar[str] = "tokenizer.json"
    dtype: ClassVar[torch.dtype] = torch.long

    @staticmethod
    def open(path: Path, architecture: str, config: Mapping[str, Any], valuation: Valuation) -> TextReader:
        """Read the tokenizer of a folder.

        Raises:
            ModelError: it is unusable, or a block leaves no room beside its special tokens.
        """
        try:
            tokenizer = Tokenizer.from_file(str(path / TextReader.FILE))
        except Exception as error:  # the library raises plain Exception
            raise ModelError(f"{path / TextReader.FILE} is not a usable tokenizer ({error}); ask the buyer.") from error
        tokenizer.no_padding()
        if valuation.max_length <= tokenizer.num_special_tokens_to_add(False):
            raise ModelError(f"{path / 'valuation.json'}: max_length leaves no room beside the special tokens.")
        # one token of overlap, so that a block's first token is predicted by the block before
        overlap = int(architecture in CAUSAL and tokenizer.num_special_tokens_to_add(False) == 0)
        tokenizer.enable_truncation(valuation.max_length, stride=overlap)
        return TextReader(architecture, config, valuation, tokenizer)

    @property
    def padding(self) -> int:
        """Id of the padding token."""
        return int(self.config.get("pad_token_id") or 0)

    def check(self, path: Path) -> None:
        """Token ids and positions against the embedding tables they index."""
        config = configuration(self.architecture, self.config)
        vocabulary = int(getattr(config, "vocab_size", 0))
        # models with relative positions alone have no such table
        positions = int(getattr(config, "max_position_embeddings", MAX_LENGTH))
        if self.architecture.startswith(SHIFTED_POSITIONS):
            positions -= self.padding + 1
        if not 0 <= self.padding < vocabulary:
            raise ModelError(f"{path / 'config.json'}: pad_token_id {self.padding} is not in the vocabulary.")
        if max(self.tokenizer.get_vocab(with_added_tokens=True).values(), default=0) >= vocabulary:
            raise ModelError(f"{path / self.FILE} has tokens beyond the model's {vocabulary}; ask the buyer.")
        if self.valuation.max_length > positions:
            raise ModelError(f"{path / 'valuation.json'}: max_length exceeds the model's {positions} positions.")

    def records(self, path: Path) -> list[Record]:
        """See :func:`~tip_exchange.influence.records.read_records`."""
        spec = self.valuation
        return [*read_records(path, spec.labels, text_column=spec.text_column, label_column=spec.label_column)]

    def unusable(self, record: Record) -> str:
        """See :class:`Reader`."""
        if not isinstance(record, TextRecord):
            return "a row of a table, and the model reads texts"
        ((first, *_),) = self.blocks([record])
        return "" if first and record.text.strip() else "no text that the model can read"

    def blocks(self, records: Sequence[Record]) -> list[list[list[int]]]:
        """Token ids: 1 to ``max_blocks`` blocks of at most ``max_length``."""
        blocks = self.valuation.max_blocks
        return [
            [encoding.ids, *(block.ids for block in encoding.overflowing[: blocks - 1])]
            if blocks > 1
            else [encoding.ids]
            for encoding in self.tokenizer.encode_batch(_texts(records))
        ]


@dataclass(frozen=True)
class TableReader:
    """Features of a row, one block."""

    config: Mapping[str, Any]
    valuation: Valuation
    columns: Columns
    FILE: ClassVar[str] = "columns.json"
    dtype: ClassVar[torch.dtype] = torch.float32
    padding: ClassVar[int] = 0

    @staticmethod
    def open(path: Path, config: Mapping[str, Any], valuation: Valuation, content: Mapping[str, Any]) -> TableReader:
        """From the content of a folder's columns.

        Raises:
            ModelError: they are not sound.
        """
        return TableReader(config, valuation, Columns.from_json(content, str(path / TableReader.FILE)))

    def check(self, path: Path) -> None:
        """Features against the model's inputs; and that nothing is set that is of texts alone."""
        features = configuration(TABLES[0], self.config).num_features
        if features != self.columns.width:
            raise ModelError(
                f"{path / self.FILE} has {self.columns.width} features, and the model takes {features}; ask the buyer."
            )
        if self.valuation.label_column in {column.name for column in self.columns.columns}:
            raise ModelError(f"{path / self.FILE}: the label is one of the columns; ask the buyer.")
        for each in fields(Valuation):
            if each.name in _OF_TEXTS and getattr(self.valuation, each.name) != each.default:
                raise ModelError(f"{path / 'valuation.json'}: {each.name} is for texts, and the model reads tables.")

    def records(self, path: Path) -> list[Record]:
        """See :meth:`~tip_exchange.influence.columns.Columns.read`."""
        return [*self.columns.read(path, self.valuation.labels, self.valuation.label_column)]

    def unusable(self, record: Record) -> str:
        """See :class:`Reader`."""
        if not isinstance(record, TableRecord):
            return "a text, and the model reads rows of a table"
        return self.columns.unusable(record)

    def blocks(self, records: Sequence[Record]) -> list[list[Block]]:
        """Features."""
        for record in records:
            if reason := self.unusable(record):
                raise DataError(f"A record cannot be read: {reason}.")
        rows = [record for record in records if isinstance(record, TableRecord)]
        return [[row] for row in self.columns.features(rows)]


def _texts(records: Sequence[Record]) -> list[str]:
    texts = [record.text for record in records if isinstance(record, TextRecord)]
    if len(texts) < len(records):
        raise DataError("A record cannot be read: a row of a table, and the model reads texts.")
    return texts
