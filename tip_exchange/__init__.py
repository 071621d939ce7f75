"""A data market in which nobody shows their hand: influence valued under encryption, settled by a contract."""
