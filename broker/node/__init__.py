"""What each member runs: outbox, inbox, directory client, supervised connection."""
