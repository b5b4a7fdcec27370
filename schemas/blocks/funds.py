"""Money and where it lies: amounts, bank accounts, crypto-currency wallets.

Of the eleven member states only Timor-Leste has IBANs: (country, bank, number) is the normal form.
"""

from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import override

from schemas.blocks.base import (
    MAX_FEW,
    Amount,
    Block,
    Country,
    Currency,
    Extension,
    Identifier,
    Inert,
    Line,
    Text,
    refuse,
)
from schemas.blocks.when import EDTF
from schemas.checkdigits import check_bic, check_iban
from schemas.wallets import check_bitcoin, check_ethereum, check_tron

_MINOR_DIGITS: Final = {  # ISO 4217; every other currency has two
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI"), 0
    ),
    **dict.fromkeys(("VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


class Money(Block):
    """An amount in a currency; never a float. More digits than the currency has are refused."""

    amount: Amount
    currency: Currency
    as_of: EDTF | None = None
    usd_equivalent: Amount | None = None
    purpose: Line | None = None

    @model_validator(mode="after")
    def _no_more_digits_than_the_currency(self) -> Self:
        fraction = self.amount.partition(".")[2].rstrip("0")
        if len(fraction) > _MINOR_DIGITS.get(self.currency, 2):
            refuse("minor-units", "more digits than the currency has")
        return self


class AccountKind(StrEnum):
    """Kinds of accounts with a bank or a payment service."""

    BANK = "bank"
    E_WALLET = "e-wallet"
    PROMPTPAY = "promptpay"
    QR = "qr"
    CARD = "card"
    REMITTANCE = "remittance"


class BankAccount(Block):
    """An account: an IBAN, or a number at a bank or service of a country."""

    kind: AccountKind | Extension = AccountKind.BANK
    iban: Annotated[str, Field(max_length=42), AfterValidator(check_iban)] | None = None
    country: Country | None = None
    bic: Annotated[str, Field(max_length=11), AfterValidator(check_bic)] | None = None
    bank_code: Identifier | None = None
    bank_name: Line | None = None
    number: Identifier | None = None
    holder: Line | None = None
    currency: Currency | None = None
    remarks: Text | None = None

    @model_validator(mode="after")
    def _names_an_account(self) -> Self:
        if self.iban is None and self.number is None:
            refuse("empty-account", "an account has an IBAN or a number")
        if self.iban is None and self.country is None:
            refuse("account-without-country", "a number needs the country of its bank")
        return self


class Chain(StrEnum):
    """Block chains; the address is checked for the first five."""

    BTC = "btc"
    ETH = "eth"
    BSC = "bsc"
    POLYGON = "polygon"
    TRON = "tron"
    SOL = "sol"
    XMR = "xmr"
    TON = "ton"
    LTC = "ltc"


_CHECKS: Final = {
    Chain.BTC: check_bitcoin,
    Chain.ETH: check_ethereum,
    Chain.BSC: check_ethereum,
    Chain.POLYGON: check_ethereum,
    Chain.TRON: check_tron,
}


class CryptoWallet(Block):
    """An address on a chain. Without a known check it is accepted and shown as not verified."""

    chain: Chain | Extension
    address: Annotated[str, Field(pattern=r"^[0-9A-Za-z:_-]{8,128}$")]
    token: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")] | None = None
    transactions: Annotated[tuple[Inert, ...], Field(max_length=MAX_FEW)] = ()
    service: Line | None = None
    remarks: Text | None = None

    @model_validator(mode="after")
    def _address_fits_the_chain(self) -> Self:
        check = _CHECKS.get(self.chain) if isinstance(self.chain, Chain) else None
        if check is None:
            return self
        try:
            compact = check(self.address)
        except ValueError:
            refuse("wallet-address", "the address fails the check of its chain")
        if compact != self.address:
            refuse("wallet-address", "a bech32 address is written in lower case")
        return self

    @override
    def doubts(self) -> tuple[str, ...]:
        """Return a code where no checksum could be verified."""
        if not isinstance(self.chain, Chain) or self.chain not in _CHECKS:
            return ("wallet-not-verified",)
        if _CHECKS[self.chain] is check_ethereum:
            return ("wallet-not-verified",)
        return ()
