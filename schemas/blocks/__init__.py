"""Common entity blocks: the same person, ship or account in every type of alert."""
