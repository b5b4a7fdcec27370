"""Commands of administrators: they use the packages directly, and need no node that runs."""
