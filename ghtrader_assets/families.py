"""Lists the model families that the pipeline has assets for; light, so that a command can ask it."""

from ghtrader_models.families.base import family_names

FAMILIES = family_names()
