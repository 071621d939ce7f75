"""The steps of the protocol, one function each: inputs → files of one's own, published blobs, and a transaction.

Every step may be killed at any moment and run again: it writes what it cannot recompute before it sends anything, and
first looks at what the chain already has.
"""
