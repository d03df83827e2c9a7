"""Training on the CPU beside other libraries; see ``__main__.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "backends"))  # of this tree, if not installed
