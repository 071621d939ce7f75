"""The ``tip`` command: parses, calls the roles, prints."""
