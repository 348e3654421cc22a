"""pac-synth (differentially private) in an environment of its own. usage: python benchmarks/peer.py TABLE OUTPUT"""

import sys

import pandas as pd
from pacsynth import (  # pyright: ignore[reportMissingImports]
    Dataset,
    DpAggregateSeededParametersBuilder,
    DpAggregateSeededSynthesizer,
)

table = pd.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
parameters = DpAggregateSeededParametersBuilder().reporting_length(3).epsilon(4.0).build()
synthesizer = DpAggregateSeededSynthesizer(parameters)
synthesizer.fit(Dataset.from_data_frame(table))
Dataset.raw_data_to_data_frame(synthesizer.sample(len(table))).to_csv(sys.argv[2], index=False)
