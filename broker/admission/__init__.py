"""The judgement of one submission: a pure function of (bytes, directory, now)."""
