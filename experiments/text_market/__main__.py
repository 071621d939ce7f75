"""Run the study: ``python -m experiments.text_market [--quick] [--json FILE] [--out DIR] [--processes N]``."""

from experiments.study import main
from experiments.text_market.study import STUDY

if __name__ == "__main__":
    main(STUDY)
