"""The tests, in folders that mirror the packages (a package itself, so that `tests/state` does not shadow `state`)."""
