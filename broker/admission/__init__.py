"""Whether a submission is admitted, and why not: pure judgement, no I/O, no clock of its own."""
