"""Writes what the image holds as a CycloneDX bill of materials, from the lock files alone.

    python deploy/sbom.py OUT

What only builds it stands there too, as `excluded`. The same locks give the same bytes.
Source: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/
"""

import hashlib
import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "deploy" / "requirements.lock"
BUILD_LOCK: Final = ROOT / "deploy" / "build.lock"
_ENTRY: Final = re.compile(r"([a-z0-9][a-z0-9._-]*)==([^\s;]+)(?: ; (.*?))?(?: \\)?$")
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SPACE: Final = uuid.UUID("9b0f4d0e-6f6b-5a5e-8c0e-2b7b1f6f3a10")  # of our serial numbers


def components(lock: str) -> list[dict[str, Any]]:
    """Return one component for each package of a lock file.

    Raises:
        ValueError: A line is not understood: the bill would lack something.
    """
    found: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if digest := _HASH.search(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest[1]})
            continue
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise ValueError(f"not a line of a lock file: {line[:80]}")
        name, version, marker = entry.groups()
        purl = f"pkg:pypi/{name}@{version}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "scope": "optional" if marker else "required",
            "hashes": [],
        }
        if marker:
            component["properties"] = [{"name": "kentong:marker", "value": marker}]
        found.append(component)
    return found


def build_tools(lock: str, build_lock: str) -> list[dict[str, Any]]:
    """Return one component for each package that builds the image and is not in it."""
    held = {part["purl"] for part in components(lock)}
    return [
        {**part, "scope": "excluded"} for part in components(build_lock) if part["purl"] not in held
    ]


def bill(lock: str, build_lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """Return the whole document."""
    parts = components(lock)
    own = f"pkg:pypi/{project['name']}@{project['version']}"
    digest = hashlib.sha256(f"{lock}{build_lock}".encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": project["name"],
                "version": project["version"],
                "purl": own,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [*parts, *build_tools(lock, build_lock)],
        "dependencies": [{"ref": own, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def main() -> None:
    """Write the bill to the file named."""
    out = Path(sys.argv[1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    made = bill(LOCK.read_text("utf-8"), BUILD_LOCK.read_text("utf-8"), project)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    sys.stdout.write(f"SBOM: {len(made['components'])} components in {out}\n")


if __name__ == "__main__":
    main()
