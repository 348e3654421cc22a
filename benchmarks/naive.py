"""The naive floor: combinations counted with pandas and itertools. usage: python benchmarks/naive.py TABLE LENGTH"""

import sys
from collections import Counter
from itertools import combinations

import pandas as pd

table = pd.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
counts: Counter[tuple[tuple[str, str], ...]] = Counter()
for row in table.itertuples(index=False, name=None):
    attributes = [pair for pair in zip(table.columns, row, strict=True) if pair[1]]
    for length in range(1, int(sys.argv[2]) + 1):
        counts.update(combinations(attributes, length))
print(f"{len(counts):,} combinations")
