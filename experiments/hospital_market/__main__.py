"""Run the study: ``python -m experiments.hospital_market [--quick] [--json FILE] [--out DIR] [--processes N]``."""

from experiments.hospital_market.study import STUDY
from experiments.study import main

if __name__ == "__main__":
    main(STUDY)
