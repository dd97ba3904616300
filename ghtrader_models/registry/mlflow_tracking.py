"""Logs benchmark runs, registered bundles and aliases to MLflow. The only file that talks to it.

What belongs here: where MLflow's database and artefacts are (both said explicitly: its defaults land in the current
folder) and what is logged. Bundles are logged as raw files, not as MLflow flavours, which would pickle; the runtime
never asks MLflow, it reads the champion pointer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import IntegrityError, UnreachableError, UsageError
from ghtrader_base.files import ensure_dir
from ghtrader_base.handed_credentials import handed_over
from ghtrader_base.locks import resource_lock
from ghtrader_market.reference.tick_origin import words_of
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.model_scores import GainInterval, MeanScore

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ghtrader_base.settings import Settings
    from ghtrader_models.bundles.bundle import Bundle
    from ghtrader_models.evaluation.benchmark import BenchmarkReport

ALIASES = ("champion", "challenger")
CREDENTIALS = frozenset({"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"})
"""Variables that MLflow's client reads by itself, for a server elsewhere that asks for a login."""
_BUNDLE_TAG = "ghtrader.bundle_id"
_INIT_WAIT_S = 60.0
_REGISTERED = """
SELECT v.name, v.version, t.value, (
    SELECT group_concat(a.alias) FROM registered_model_aliases a WHERE a.name = v.name AND a.version = v.version
) FROM model_versions v LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = :tag
WHERE v.current_stage IS NOT 'Deleted_Internal' ORDER BY v.name, v.version
"""
"""Of the schema of the MLflow in requirements.lock; a test compares it with the client."""
_TAGGED_DAYS = 50
"""MLflow refuses longer tags."""


def tracking_uri(settings: Settings) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a sqlite file under the home."""
    return settings.mlflow_tracking_uri or f"sqlite:///{settings.mlflow / 'mlflow.db'}"


def artifact_root(settings: Settings) -> str:
    """Folder of artefacts under the home."""
    return str(settings.mlflow / "artifacts")


def model_name(symbol: str, horizon: int) -> str:
    """Registered model of a symbol and horizon: all families are versions of it, so that one of them is champion."""
    return f"{re.sub('[^A-Za-z0-9_.]', '-', symbol)}-h{horizon}"


def day_tags(used: int, left_out: Sequence[LeftOutDay]) -> dict[str, str]:
    """Tags that say how many days took part and which did not, with the reason; the first fifty by name."""
    tags = {"ghtrader.days": str(used)}
    if left_out:
        named = [f"{found.day} {found.reason.value}" for found in left_out[:_TAGGED_DAYS]]
        more = [f"and {len(left_out) - _TAGGED_DAYS} more"] if len(left_out) > _TAGGED_DAYS else []
        tags["ghtrader.left_out_days"] = ", ".join([*named, *more])
    return tags


@dataclass(frozen=True)
class RegisteredBundle:
    """A version of a registered model.

    Attributes
    ----------
    model, version : str
    bundle_id : str
        Empty where the version has no tag that says it.
    aliases : tuple of str
        Those that point at it.
    """

    model: str
    version: str
    bundle_id: str
    aliases: tuple[str, ...]


def registered_bundles(settings: Settings) -> list[RegisteredBundle] | None:
    """Every version of every registered model, by model and version; None where the home has no registry of its own.

    Read from the home's database as it is: importing MLflow takes longer than an audit of some months.

    Raises
    ------
    IntegrityError
        The database cannot be read.
    """
    path = settings.mlflow / "mlflow.db"
    if settings.mlflow_tracking_uri or not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(_REGISTERED, {"tag": _BUNDLE_TAG}).fetchall()
    except sqlite3.Error as exc:
        raise IntegrityError(f"{path} cannot be read: {exc}", "restore it from a backup") from exc
    return [
        RegisteredBundle(model, str(version), bundle_id or "", tuple(sorted(filter(None, (aliases or "").split(",")))))
        for model, version, bundle_id, aliases in rows
    ]


class Tracker:
    """One home's MLflow.

    Parameters
    ----------
    settings : Settings
        Says where.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._experiments: dict[str, str] = {}

    @cached_property
    def client(self) -> MlflowClient:
        """The client; the first use in a home makes the database, under a lock, because two first users race."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        for name, value in handed_over().items():
            if name in CREDENTIALS:  # of a run of a server; its config is read by now, and names no variable anyway
                os.environ.setdefault(name, value)
        for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.utils.autologging_utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        uri = tracking_uri(self._settings)
        ensure_dir(Path(artifact_root(self._settings)))
        with resource_lock(self._settings.locks, "mlflow-init", "open MLflow's database", wait_s=_INIT_WAIT_S):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            try:
                client.search_experiments(max_results=1)
                client.search_registered_models(max_results=1)
            except MlflowException as exc:
                if (refused := disk_error(exc, self._settings.mlflow)) is not None:
                    raise refused from exc
                raise UnreachableError(
                    f"MLflow at {uri} does not answer: {exc}", "start it, or unset MLFLOW_TRACKING_URI"
                ) from exc
        return client

    def _experiment(self, symbol: str) -> str:
        """Id of the symbol's experiment, made at its first use."""
        if symbol not in self._experiments:
            with resource_lock(self._settings.locks, "mlflow-init", "make an experiment", wait_s=_INIT_WAIT_S):
                found = self.client.get_experiment_by_name(symbol)
                if found is None:
                    # a server elsewhere keeps its artefacts itself
                    local = not tracking_uri(self._settings).startswith(("http://", "https://"))
                    folder = Path(artifact_root(self._settings)) / model_name(symbol, 0).removesuffix("-h0")
                    place = folder.as_uri() if local else None
                    self._experiments[symbol] = self.client.create_experiment(symbol, artifact_location=place)
                else:
                    self._experiments[symbol] = found.experiment_id
        return self._experiments[symbol]

    def experiment_of(self, symbol: str) -> str:
        """Id of a symbol's experiment, made at its first use."""
        return self._experiment(symbol)

    def log_benchmark(
        self,
        report: BenchmarkReport,
        *,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
    ) -> str:
        """Log one walk-forward report.

        Parameters
        ----------
        report : BenchmarkReport
            Its scores become metrics (per split with the split as step; means and the gain's bounds), its
            configuration parameters, the whole of it ``benchmark.json``.
        tags : mapping, optional
            For example ``dagster.run_id`` and ``dagster.partition``.
        artifacts : mapping of file name to bytes, optional
            Plots and the like.

        Returns
        -------
        str
            MLflow's run id.
        """
        name = f"{report.family}-h{report.horizon}"
        marks = {
            "family": report.family,
            "horizon": str(report.horizon),
            "kind": "benchmark",
            "splits_hash": report.splits_hash,
        }
        return self._log(
            report.symbol,
            name,
            {**{f"ghtrader.{key}": value for key, value in marks.items()}, **dict(tags or {})},
            {"family": report.family, "horizon": report.horizon, "seed": report.seed, **asdict(report.config)},
            _metrics(report),
            {"benchmark.json": report.to_dict(), **dict(artifacts or {})},
        )

    def register_bundle(
        self, bundle: Bundle, *, tags: Mapping[str, str] | None = None, alias: str | None = "challenger"
    ) -> str:
        """Log a bundle as raw files and make it a version of its registered model.

        Parameters
        ----------
        bundle : Bundle
            Loaded, hence checked.
        tags : mapping, optional
            On the run and the version.
        alias : str or None
            "challenger" or "champion".

        Returns
        -------
        str
            The version; that of the first time where the same bundle was registered before.
        """
        name = model_name(bundle.symbol, bundle.horizon)
        version = self._version_of(name, bundle.bundle_id)
        if version is None:
            marks = {
                **dict(tags or {}), _BUNDLE_TAG: bundle.bundle_id, "ghtrader.family": bundle.kind,
                "ghtrader.origin": words_of(bundle.content.origins),
            }  # fmt: skip
            kind = {"ghtrader.kind": "training", "ghtrader.horizon": str(bundle.horizon)}
            content = bundle.content
            params = {"family": bundle.kind, "horizon": bundle.horizon, "seed": content.seed, **content.config}
            run = self._log(
                bundle.symbol,
                f"train-{bundle.kind}-h{bundle.horizon}",
                {**marks, **kind},
                params,
                {"policy_enter": [(bundle.policy.enter, 0)], "policy_leave": [(bundle.policy.leave, 0)]},
                {},
                folder=bundle.path,
            )
            self._ensure_model(name)
            source = f"{self.client.get_run(run).info.artifact_uri}/bundle"
            version = self.client.create_model_version(name, source, run_id=run, tags=marks).version
        if alias is not None:
            self._alias(name, str(version), alias)
        return str(version)

    def set_alias(self, bundle: Bundle, alias: str) -> str:
        """Point an alias of the bundle's registered model at its version, registering it where needed."""
        return self.register_bundle(bundle, alias=alias)

    def bundle_of_alias(self, symbol: str, horizon: int, alias: str = "champion") -> str | None:
        """Bundle id an alias points at, or None."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(model_name(symbol, horizon), alias).tags.get(_BUNDLE_TAG)
        except MlflowException:
            return None

    def _alias(self, name: str, version: str, alias: str) -> None:
        if alias not in ALIASES:
            raise UsageError(f"no alias {alias!r}", f"known: {', '.join(ALIASES)}")
        self.client.set_registered_model_alias(name, alias, version)

    def _version_of(self, name: str, bundle_id: str) -> str | None:
        found = self.client.search_model_versions(f"name = '{name}' and tags.`{_BUNDLE_TAG}` = '{bundle_id}'")
        return str(found[0].version) if found else None

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        with resource_lock(self._settings.locks, "mlflow-init", "make a registered model", wait_s=_INIT_WAIT_S):
            try:
                self.client.get_registered_model(name)
            except MlflowException:
                self.client.create_registered_model(name)

    def _log(
        self,
        symbol: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, list[tuple[float, int]]],
        artifacts: Mapping[str, Any],
        folder: Path | None = None,
    ) -> str:
        """One finished run in one batch; `FAILED` where something went wrong on the way."""
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        run = self.client.create_run(self._experiment(symbol), run_name=name, tags=dict(tags))
        run_id: str = run.info.run_id
        now = run.info.start_time
        try:
            self.client.log_batch(
                run_id,
                metrics=[Metric(key, value, now, step) for key, row in metrics.items() for value, step in row],
                params=[Param(key, str(value)) for key, value in params.items()],
                tags=[RunTag("ghtrader.symbol", symbol)],
            )
            for file, content in artifacts.items():
                self._artifact(run_id, file, content)
            if folder is not None:
                self.client.log_artifacts(run_id, str(folder), "bundle")
        except BaseException:
            with contextlib.suppress(MlflowException):  # a full disk refuses that too: what was wrong first is said
                self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")
        return run_id

    def _artifact(self, run_id: str, name: str, content: Any) -> None:
        if not isinstance(content, bytes):
            self.client.log_dict(run_id, content, name)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            self.client.log_artifact(run_id, str(path))


def _metrics(report: BenchmarkReport) -> dict[str, list[tuple[float, int]]]:
    metrics: dict[str, list[tuple[float, int]]] = {}
    scored = {"": report.model, **{f"{name}_": found for name, found in report.baselines.items()}}
    for prefix, scores in scored.items():
        for field in fields(scores):
            found: MeanScore | GainInterval | None = getattr(scores, field.name)
            if found is None:
                continue
            metrics[f"{prefix}{field.name}"] = [(found.mean, 0)]
            if not prefix:
                metrics[f"split_{field.name}"] = [(value, split) for split, value in enumerate(found.per_split)]
            if isinstance(found, GainInterval):
                for bound, value in (("low", found.low), ("high", found.high)):
                    if value is not None:
                        metrics[f"{prefix}{field.name}_{bound}"] = [(value, 0)]
    if report.simulation is not None:
        for key in ("net_pnl", "fees", "round_trips", "max_drawdown"):
            metrics[f"simulated_{key}"] = [(float(getattr(report.simulation, key)), 0)]
    return metrics
