"""What each way of cheating earns a seller, before and after the checks."""
