"""Calls a server only to see its certificate: it is asked for nothing and let in nowhere."""

import asyncio
import ssl
from datetime import UTC, datetime
from typing import Final

from broker.transport.dialling import tls_context
from broker.transport.errors import Unreachable

GREETING_LIMIT_S: Final = 10.0


async def shown_until(host: str, port: int, authority_pem: str) -> datetime:
    """Return until when the certificate holds that a server shows, once its chain and name held.

    NATS says a line in clear first, so that this is no plain TLS port.

    Args:
        host: Under this name, which its certificate must have.
        port: For members.
        authority_pem: Who may have signed it; several one after the other.

    Raises:
        Unreachable: Nobody answers there, or with a certificate that is not believed.
    """
    try:
        async with asyncio.timeout(GREETING_LIMIT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                await reader.readline()
                await writer.start_tls(tls_context(authority_pem), server_hostname=host)
                shown = writer.get_extra_info("ssl_object").getpeercert()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError) as error:  # a refused certificate is an OSError
        raise Unreachable(f"{host}:{port} does not answer as it should") from error
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC)
