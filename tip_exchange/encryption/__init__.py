"""Influence under BFV encryption: encrypt a query, evaluate it blindly, decrypt one exact integer (docs/encryption.md).

The only package that imports tenseal. SEAL never parses bytes of a counterparty: :mod:`.wire` does, into arrays of
checked range, and :mod:`.seal` builds SEAL's own format from those.
"""
