"""The servers of tests/data, whose folder is no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from servers import http_server

__all__ = ["http_server"]
