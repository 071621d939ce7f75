"""``python -m tip_exchange`` is ``tip``."""

from tip_exchange.cli.main import main

if __name__ == "__main__":
    main()
