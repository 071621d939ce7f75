"""Studies of what a valuation predicts; each is run by ``python -m experiments.<name>``."""
