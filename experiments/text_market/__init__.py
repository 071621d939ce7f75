"""A market of texts: what documents and senders of mail are worth to a small language model, and who gains by it.

``python -m experiments.text_market`` runs it.
"""
