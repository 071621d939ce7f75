"""What a buyer has published for its order: each blob hashes to what the terms name, and parses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

from tip_exchange import commitments
from tip_exchange.encryption.parameters import MAX_DIMENSION, parameter_set
from tip_exchange.encryption.query import expand_a, zero_block_hash
from tip_exchange.encryption.wire import Query, decode_query, query_bytes, query_header
from tip_exchange.errors import TipError
from tip_exchange.roles.audit_evidence import Evidence, expect
from tip_exchange.roles.publication import fetch_licence, fetch_manifest, fetch_sellers
from tip_exchange.storage import BlobStore


class Published:
    """The blobs of one order."""

    def __init__(self, store: BlobStore, evidence: Evidence) -> None:
        self.store, self.evidence = store, evidence
        self.terms = evidence.order.terms

    @cached_property
    def query(self) -> Query:
        """The query, checked against its hash and parsed; its dimension is the one it claims, for want of the model."""
        parameters = parameter_set(self.terms.parameterSet)
        limit = query_bytes(parameters, MAX_DIMENSION, parameters.N)
        blob = self.store.get(self.terms.queryHash, limit=limit, commitment=commitments.keccak)
        return decode_query(blob, parameters=parameters, dimension=query_header(blob).dimension)

    def checks(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Name and function of every check."""
        yield "licence", self.licence
        yield "query", self.query_blob
        yield "zero block", self.zero_block
        yield "model manifest", self.model_manifest
        yield from self.model_files()
        if self.terms.sellersRoot != bytes(32):
            yield "allow-list", self.allow_list

    def licence(self) -> str:
        """The text under which records are sold is the one that both sides name."""
        return f"{len(fetch_licence(self.store, self.terms.licenceHash))} characters"

    def query_blob(self) -> str:
        """The query's bytes hash to the committed value and parse."""
        return f"{len(self.query.blocks)} blocks for {self.query.dimension} dimensions, no seed twice"

    def zero_block(self) -> str:
        """The ``a`` halves come from seeds; the zero block's expansion is the committed one."""
        commitments.check("zero block", self.terms.zeroBlockHash, zero_block_hash(self.query))
        for block in self.query.blocks:
            expand_a(block, self.query.parameters)
        return f"{len(self.query.zero_blocks) + len(self.query.blocks)} halves expanded from their seeds"

    def model_manifest(self) -> str:
        """The manifest hashes to the order's model hash."""
        files = fetch_manifest(self.store, self.terms.modelHash)
        return f"{len(files)} files, {sum(size for _, size, _ in files)} bytes"

    def model_files(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """One check per file of the manifest; none when the manifest itself fails."""
        try:
            files = fetch_manifest(self.store, self.terms.modelHash)
        except TipError:
            return
        for name, size, digest in files:
            yield f"model file {name}", partial(self.model_file, size, digest)

    def model_file(self, size: int, digest: bytes) -> str:
        """A model file's bytes hash to what the manifest says."""
        self.store.check_file(digest, limit=size)
        return f"{size} bytes"

    def allow_list(self) -> str:
        """The invited sellers' list has the committed root, and every seller is on it."""
        invited = fetch_sellers(self.store, self.terms.sellersRoot)
        for entry in self.evidence.submissions:
            expect(entry.seller in invited, f"{entry.seller} is not invited")
        return f"{len(invited)} invited"
