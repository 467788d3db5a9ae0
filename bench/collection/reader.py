"""One of several processes that read records: ``python -m bench.collection.reader ROOT IN OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.collection.parsing import parse
from bench.collection.shares import write

if __name__ == "__main__":
    root, asked, found = map(Path, sys.argv[1:])
    write(parse(root, json.loads(asked.read_text(encoding="utf-8"))), found)
