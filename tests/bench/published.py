"""What the page on speed shows of runs, read back: a later run replaces what it measured again."""

import re
from typing import Any, Final

BEGIN: Final = "<!-- numbers of a run -->"
END: Final = "<!-- end of the numbers -->"
_HEAD = re.compile(r"^(.+ counts, .+), (\d{4}-\d\d-\d\d)$")
_TITLE = re.compile(r"^\(([a-h])\) (.*?)(?:, sync_interval (\w+))?$")
_NOTE = "  note: "
_ROW = re.compile(r"^  (\S.*?) {2,}(-?[\d.,]+) (\S+)(?: \+- ([\d.,]+))?(?: {2,}(.*))?$")
_GOAL = re.compile(r"^([\d.,]+)x (.*); goal (>=|<=) ([\d.]+)x: (reached|NOT REACHED)$")


def shown(page: str) -> list[dict[str, Any]]:
    """The runs that a page shows, each as its JSON had it, to the digits that the page has."""
    runs: list[dict[str, Any]] = []
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        if head := _HEAD.match(line):
            runs.append({"head": head[1], "at": head[2], "parts": []})
        elif title := _TITLE.match(line):
            part = {"part": title[1], "title": title[2], "sync_interval": title[3] or ""}
            runs[-1]["parts"].append(part | {"rows": [], "notes": []})
        elif line.startswith(_NOTE):
            runs[-1]["parts"][-1]["notes"].append(line.removeprefix(_NOTE))
        elif row := _ROW.match(line):
            runs[-1]["parts"][-1]["rows"].append(_row(*row.groups()))
    return runs


def _row(what: str, value: str, unit: str, error: str | None, goal: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"what": what, "value": _number(value), "unit": unit}
    if error is not None:
        told["error"] = _number(error)
    if goal is not None and (found := _GOAL.match(goal)):
        told |= {"ratio": _number(found[1]), "of": found[2], "goal": float(found[4])}
        told |= {"at_most": found[3] == "<=", "reached": found[5] == "reached"}
    return told


def _number(text: str) -> float:
    return float(text.replace(",", ""))
