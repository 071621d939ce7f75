"""Delivery of one seller's records: an encrypted file first, its 32-byte key on chain later (docs/delivery.md).

A file shows a leaf hash and a cipher of every record. Before the key is public the buyer checks that both belong to the
offer (:mod:`.file`); once it is, one record that does not open to its leaf is proof enough for a contract
(:mod:`.complaint`). Bytes and streams alone: no chain, no model.
"""
