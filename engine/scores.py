"""The score rasters that can be made beside a thematic map."""

from __future__ import annotations

#: ``confidence``: probability of the chosen class.  ``entropy``: Shannon entropy of the probabilities over
#: that of a uniform distribution, 0 sure to 1 undecided.  ``margin``: distance between the two best
#: probabilities.  ``probabilities``: one band per class.
SCORES = ("confidence", "entropy", "margin", "probabilities")
