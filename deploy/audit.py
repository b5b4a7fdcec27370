"""Asks the OSV database whether a locked package has a known weakness.

    python deploy/audit.py [URL]

Ends with 1 if one has. Where the database cannot be reached, or something else answers in its place
(a proxy's page, a portal's), it says SKIP and why, and ends with 0: a check that needs the network
must not stop work without it, nor pass in silence.
"""

import json
import sys
from http.client import HTTPException
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

from sbom import BUILD_LOCK, LOCK, build_tools, components

OSV: Final = "https://api.osv.dev/v1/querybatch"
TIMEOUT_S: Final = 20
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


def question(parts: list[dict[str, Any]]) -> bytes:
    """Return one question about all of them."""
    queries = [{"package": {"purl": part["purl"]}} for part in parts]
    return json.dumps({"queries": queries}).encode()


def weaknesses(parts: list[dict[str, Any]], answer: bytes) -> list[tuple[str, str]]:
    """Return package and name of each known weakness.

    Raises:
        ValueError: It is no answer to the question.
    """
    try:
        results = json.loads(answer)["results"]
        return [
            (part["purl"], str(weakness["id"]))
            for part, result in zip(parts, results, strict=True)
            for weakness in result.get("vulns", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("what answers is not the database") from None


def main() -> None:
    """Ask, and say what came of it."""
    url = sys.argv[1] if len(sys.argv) > 1 else OSV
    lock = LOCK.read_text("utf-8")
    parts = components(lock) + build_tools(lock, BUILD_LOCK.read_text("utf-8"))
    asked = Request(  # noqa: S310 - a URL that a person named, or ours
        url, question(parts), {"Content-Type": "application/json"}
    )
    try:
        with urlopen(asked, timeout=TIMEOUT_S) as answer:  # noqa: S310 - likewise
            found = weaknesses(parts, answer.read(MAX_ANSWER_BYTES))
    except (URLError, OSError, HTTPException) as error:
        sys.stdout.write(f"SKIP: dependency audit: {url} cannot be reached: {error}\n")
        return
    except ValueError as error:
        sys.stdout.write(f"SKIP: dependency audit: {url}: {error}\n")
        return
    for purl, weakness in found:
        sys.stdout.write(f"{purl}: {weakness}\n")
    sys.stdout.write(f"dependency audit: {len(parts)} packages, {len(found)} known weaknesses\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
