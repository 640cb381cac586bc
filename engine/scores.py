"""The score rasters that can be made beside a thematic map, and the precision that they are computed in."""

from __future__ import annotations

#: ``confidence``: probability of the chosen class.  ``entropy``: Shannon entropy of the probabilities over
#: that of a uniform distribution, 0 sure to 1 undecided.  ``margin``: distance between the two best
#: probabilities.  ``probabilities``: one band per class.
SCORES = ("confidence", "entropy", "margin", "probabilities")

#: ``fp32``: single precision everywhere.  ``fp16``: the network in half precision where it runs on a GPU.
#: ``auto``: fp16 on a GPU, fp32 on the processor.
PRECISIONS = ("fp32", "fp16", "auto")
