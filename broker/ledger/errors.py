"""What stops a log. It is never tried again in place: the process ends, start-up recovers."""

from broker.errors import BrokerError


class LedgerError(BrokerError):
    """The log cannot go on as it is; `code` says why."""
