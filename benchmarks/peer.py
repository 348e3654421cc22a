"""pac-synth (differentially private) in an environment of its own.

usage: python benchmarks/peer.py TABLE OUTPUT [EPSILON MODE LENGTH]

MODE is how it treats combinations that nobody has, LENGTH the longest combination that it counts. Delta is 1 / (n ln n).
"""

import math
import sys

import pandas as pd
from pacsynth import (  # pyright: ignore[reportMissingImports]
    Dataset,
    DpAggregateSeededParametersBuilder,
    DpAggregateSeededSynthesizer,
    FabricationMode,
)

source, output, *chosen = sys.argv[1:]
epsilon, mode, length = chosen or ("4", "balanced", "3")
table = pd.read_csv(source, dtype=str, keep_default_na=False)
delta = 1 / (len(table) * math.log(len(table)))
builder = DpAggregateSeededParametersBuilder().reporting_length(int(length)).epsilon(float(epsilon)).delta(delta)
synthesizer = DpAggregateSeededSynthesizer(builder.fabrication_mode(getattr(FabricationMode, mode)()).build())
synthesizer.fit(Dataset.from_data_frame(table))
Dataset.raw_data_to_data_frame(synthesizer.sample(len(table))).to_csv(output, index=False)
