"""Why a key, a signature or a directory was refused."""


class KeysError(Exception):
    """Root of what `keys` raises.

    Attributes:
        code: Stable, machine-readable, kebab-case.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SignatureError(KeysError):
    """A signature does not verify over the bytes received."""


class DecryptionError(KeysError):
    """A ciphertext does not open under this key and context; it says no more on purpose."""


class KeyFileError(KeysError):
    """A key file is missing, unreadable, damaged, under the wrong passphrase or too open."""


class TokenError(KeyFileError):
    """A hardware token does not sign at this moment; nothing is wrong with what it should sign."""


class DirectoryError(KeysError):
    """The directory cannot be trusted or lacks what was asked."""
