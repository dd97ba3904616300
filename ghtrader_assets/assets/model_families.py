"""Makes the assets of every model family: a training and a walk-forward report each, joined by `benchmark_report`.

An entry in `families/table.py` is all that a new family needs to appear here.
"""

import dagster as dg

from ghtrader_assets.assets.benchmark_and_promotion import benchmark_asset, joint_report_asset
from ghtrader_assets.assets.models import model_asset
from ghtrader_models.families.table import FAMILIES


def family_assets() -> list[dg.AssetsDefinition]:
    """`model_<family>` and `benchmark_<family>` of each family of the table, and `benchmark_report`."""
    made = [make(family) for family in FAMILIES for make in (model_asset, benchmark_asset)]
    return [*made, joint_report_asset(FAMILIES)]


joint_report_sensor = dg.AutomationConditionSensorDefinition(
    "benchmark_report_as_benchmarks_come",
    target=dg.AssetSelection.assets("benchmark_report"),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Joins the reports again whenever one family's benchmark is new, also where the others still run.",
)
