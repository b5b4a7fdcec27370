"""A step to a version that no release has, so that steps can be tried on rows."""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
