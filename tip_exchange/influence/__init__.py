"""How much a seller's records would lower the buyer's validation loss.

::

    records      what a record is, how files are read            (no torch)
    models       model folders: safetensors, allow-listed architectures, nothing that runs
    training     the buyer's checkpoints, and retraining for true utility
    projection   seeded two-sided projections
    layers       which linear layers are valued, at what rank
    capture      per-record projected gradients of any module
    gradients    those of a model folder's records, streamed
    curvature    damped Fisher in the projected space
    valuation    clip norm, a seller's vector, the buyer's query

The only part of the package that imports torch. This file imports nothing, so that ``influence.records`` stays cheap.
"""
