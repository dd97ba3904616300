"""Defines what the config of a run is made of: plain values, none of which can name an environment variable.

Dagster lets a run config say `{"env": "NAME"}` in place of any text, number or switch; the value of the variable would
then stand in events, logs and error messages of the run. Whoever may start a run would read the environment of the
process that executes it. Every class of config and every resource of ours begins here, so that launchpad, schedules,
sensors and terminals have the same types, and a run that names a variable is refused before it exists.
"""

import dagster as dg
from dagster._config import Bool, Int, String
from dagster._config.pythonic_config import conversion_utils


def _take_plain_values() -> None:
    """Have `str`, `int` and `bool` of a config class mean just that.

    Dagster has no option for it; a test holds that no job's config has a field that takes a variable's name. Its own
    `dagster.yaml` keeps `{env: DAGSTER_HOME}`: that is another part of Dagster, and no run config.
    """
    for name, plain in (("StringSource", String), ("IntSource", Int), ("BoolSource", Bool)):
        if not hasattr(conversion_utils, name):
            raise AttributeError(f"this Dagster has no {name} where ghtrader_assets/run_config.py looks for it")
        setattr(conversion_utils, name, plain())


_take_plain_values()


class RunConfig(dg.Config):
    """The config of an asset or op of ours; plain values alone."""


class RunResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource of ours, which a run config may set; plain values alone."""
