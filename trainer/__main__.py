"""``python -m thematica.trainer …``: the same as ``thematica train …``."""

from __future__ import annotations

import sys

from ..cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
