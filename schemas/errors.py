"""Why data was refused. One root, so that a caller can catch everything this package says."""


class SchemaError(Exception):
    """Data does not have the form it claims.

    Attributes:
        code: Stable, machine-readable, kebab-case; the key of the officer-facing text.
        field: Dotted path of the offending field, never its value; empty for the whole.
    """

    def __init__(self, code: str, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.code = code
        self.field = field


class CanonicalError(SchemaError):
    """Bytes are not the one canonical encoding of any value."""


class UnknownVersionError(SchemaError):
    """A version or type this software does not read; a newer one may."""


class RuleError(SchemaError):
    """A handling rule of the domain (R1 to R16) is broken."""
