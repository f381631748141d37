"""What every benchmark is called with, and where its figures are kept."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser that explains the benchmark in its own words, and takes ``--json FILE``."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    return parser


def keep(figures: Mapping[str, Any], path: Path | None) -> str:
    """The figures as text, and in the file that was asked for."""
    text = json.dumps(figures, indent=1)
    if path is not None:
        path.write_text(text + "\n")
    return text
