"""Logs a sweep to MLflow: a parent run a study, a child run a trial, each once however often a sweep is resumed.

One process of a sweep does it, the one that was asked for it; workers log nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_models.sweep.trials import TrialEnd, TrialRow

if TYPE_CHECKING:
    from ghtrader_models.registry.mlflow_tracking import Tracker
    from ghtrader_models.sweep.report import SweepReport

_STUDY, _TRIAL, _PARENT, _KIND = "ghtrader.study", "ghtrader.trial", "mlflow.parentRunId", "ghtrader.kind"
_FINISHED, _MOST = "FINISHED", 5000
_LOGGED = (TrialEnd.COMPLETE, TrialEnd.PRUNED, TrialEnd.FAILED)


class SweepRuns:
    """The runs of one study.

    Parameters
    ----------
    tracker : Tracker
    symbol, study : str
        Series, whose experiment they are in, and the study's name.
    tags : mapping
        On the parent and each child: family, horizon, Dagster's run.
    params : mapping
        Of the parent: the space.
    """

    def __init__(
        self, tracker: Tracker, symbol: str, study: str, *, tags: Mapping[str, str], params: Mapping[str, str]
    ) -> None:
        self._client, self._experiment = tracker.client, tracker.experiment_of(symbol)
        self._study, self._tags = study, {**tags, _STUDY: study, "ghtrader.symbol": symbol}
        found = self._search(f"tags.`{_STUDY}` = '{study}' and tags.`{_KIND}` = 'sweep'")
        if found:
            self.parent: str = found[0].info.run_id
            self._client.update_run(self.parent, status="RUNNING")
        else:
            run = self._client.create_run(
                self._experiment, run_name=f"sweep {study}", tags={**self._tags, _KIND: "sweep"}
            )
            self.parent = run.info.run_id
            for name, value in params.items():
                self._client.log_param(self.parent, name, value)
        self._logged = self._whole_children()

    def log_trials(self, rows: Sequence[TrialRow]) -> None:
        """A child run for each trial that has ended and has none."""
        for row in rows:
            if row.end in _LOGGED and row.number not in self._logged:
                self._log(row)
                self._logged.add(row.number)

    def close(self, report: SweepReport) -> None:
        """Put what was found on the parent, and end it."""
        best = report.best
        metrics = {f"trials_{end}": float(count) for end, count in report.ends.items()}
        metrics["configurations_tried"] = float(report.tried)
        if best is not None:
            metrics |= {"best_objective": best.objective or 0.0, "best_logloss_gain": best.mean or 0.0}
            self._client.set_tag(self.parent, "ghtrader.best_trial", str(best.number))
        for name, value in metrics.items():
            self._client.log_metric(self.parent, name, value)
        self._client.set_tag(self.parent, "ghtrader.configurations_tried", str(report.tried))
        self._client.log_dict(self.parent, report.to_dict(), "sweep.json")
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "sweep.html"
            page.write_text(report.page(), "utf-8")
            self._client.log_artifact(self.parent, str(page))
        self._client.set_terminated(self.parent, _FINISHED)

    def fail(self) -> None:
        """The sweep did not finish."""
        self._client.set_terminated(self.parent, "FAILED")

    def _log(self, row: TrialRow) -> None:
        from mlflow.entities import Metric, Param

        tags = {
            **self._tags, _KIND: "trial", _PARENT: self.parent, _TRIAL: str(row.number), "ghtrader.end": row.end.value,
        }  # fmt: skip
        run = self._client.create_run(self._experiment, run_name=f"trial {row.number}", tags=tags)
        now = run.info.start_time
        numbers = {
            "objective": row.objective, "logloss_gain": row.mean, "logloss_gain_deviation": row.deviation,
            "row_median_us": row.row_time.p50_us if row.row_time else None,
        }  # fmt: skip
        metrics = [Metric(name, value, now, 0) for name, value in numbers.items() if value is not None]
        metrics += [Metric("split_logloss_gain", gain, now, split) for split, gain in enumerate(row.gains)]
        params = [Param(name, str(value)) for name, value in row.settings.items()]
        self._client.log_batch(run.info.run_id, metrics=metrics, params=params)
        self._client.set_terminated(run.info.run_id, _FINISHED)

    def _whole_children(self) -> set[int]:
        """Numbers of the trials that have a whole run; a run whose writer was killed is deleted, to be written anew."""
        numbers = set()
        for run in self._search(f"tags.`{_PARENT}` = '{self.parent}'"):
            if run.info.status == _FINISHED:
                numbers.add(int(run.data.tags[_TRIAL]))
            else:
                self._client.delete_run(run.info.run_id)
        return numbers

    def _search(self, condition: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment], condition, max_results=_MOST))
