"""Lists the model families and label horizons that the pipeline has assets for; light, so that a command can ask it."""

from ghtrader_models.families.base import family_names

FAMILIES = family_names()

HORIZONS = (10, 50, 200)
MAIN_HORIZON = 50
"""The horizon that is judged, gated and traded; the others are reported."""
