"""What ``thematica evaluate --json`` measured, as the two tables of docs/results.md.

``python tools/accuracy_tables.py EVALUATION.json`` prints accuracy per class and the confusion matrix in Markdown.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def tables(evaluation: dict[str, Any]) -> str:
    """Both tables, one below the other; of a model with one label per sample."""
    names, confusion, figures = evaluation["classes"], evaluation["confusion"], evaluation["metrics"]
    lines = ["| class | samples | precision | recall | F1 |", "| --- | --- | --- | --- | --- |"]
    for name, row in zip(names, confusion, strict=True):
        values = [figures[f"{title}, {name}"] for title in ("user's accuracy", "producer's accuracy", "F1")]
        lines.append(f"| {name} | {sum(row)} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    lines += ["", "| true ↓, called → | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    for place, (name, row) in enumerate(zip(names, confusion, strict=True)):
        cells = [f"**{count}**" if column == place else str(count or "") for column, count in enumerate(row)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
