"""How faithful valuations are: to what data is really worth, to retraining, and to the plaintext.

Each module is one study with ``run``, ``report`` and ``plot``; ``python -m experiments.fidelity`` runs them.
"""
