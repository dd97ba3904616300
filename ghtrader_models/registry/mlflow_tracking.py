"""Logs runs, bundles as MLflow models, scores and aliases to MLflow; `sweep_runs` logs those of a sweep.

What belongs here: where MLflow's database is (said explicitly: its default lands in the current folder) and what is
logged. The form of artefacts' addresses is `artifact_addresses`', a bundle as an MLflow model `logged_model`'s. The
runtime never asks MLflow, it reads the champion pointer.

Failpoint: ``mlflow.model->version``.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import re
import socket
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.address_passwords import hide_secrets, login_of, without_login
from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import IntegrityError, UnreachableError, UsageError
from ghtrader_base.failpoints import failpoint
from ghtrader_base.files import content_hash, ensure_dir
from ghtrader_base.handed_credentials import handed_over
from ghtrader_base.locks import resource_lock
from ghtrader_base.processes import start_ticks
from ghtrader_base.version import code_version, git_commit
from ghtrader_market.reference.tick_origin import words_of
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.bundles.provenance import DayFacts, data_hash
from ghtrader_models.model_scores import GainInterval, MeanScore
from ghtrader_models.registry.artifact_addresses import DATABASE, FOLDER, ROOT, local_path, make_addresses_relative

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run
    from mlflow.entities.model_registry import ModelVersion

    from ghtrader_base.settings import Settings
    from ghtrader_models.bundles.bundle import Bundle
    from ghtrader_models.calibration import Calibration
    from ghtrader_models.evaluation.benchmark import BenchmarkReport
    from ghtrader_models.evaluation.comparison import Comparison

ALIASES = ("champion", "challenger")
CREDENTIALS = frozenset({"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"})
"""Variables that MLflow's client reads by itself, for a server elsewhere that asks for a login."""
_BUNDLE_TAG = "ghtrader.bundle_id"
_PROCESS_TAG = "ghtrader.process"
_HTTP = ("http://", "https://")
_WAIT_S = 60.0
_SCORES = ("logloss", "logloss_gain", "logloss_gain_low", "logloss_gain_high", "accuracy", "macro_f1", "ece")
"""Metrics of a walk-forward report that a version carries."""
_DIGEST_LENGTH = 36
"""MLflow refuses longer digests of a data set."""
_REGISTERED = """
SELECT v.name, v.version, t.value, (
    SELECT group_concat(a.alias) FROM registered_model_aliases a WHERE a.name = v.name AND a.version = v.version
), coalesce(m.artifact_location, v.source) FROM model_versions v
LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = :tag
LEFT JOIN logged_models m ON v.source = 'models:/' || m.model_id
WHERE v.current_stage IS NOT 'Deleted_Internal' ORDER BY v.name, v.version
"""
"""Of the schema of the MLflow in requirements.lock; a test compares it with the client."""
_TAGGED_DAYS = 50
"""MLflow refuses longer tags."""
_log = logging.getLogger(__name__)


def tracking_uri(settings: Settings) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a sqlite file under the home; a login is not part of it."""
    found = settings.mlflow_tracking_uri
    return (without_login(found) if found.startswith(_HTTP) else found) or f"sqlite:///{settings.mlflow / DATABASE}"


def artifact_root(settings: Settings) -> str:
    """Folder of artefacts under the home."""
    return str(settings.mlflow / FOLDER)


def default_artifact_root(settings: Settings) -> str:
    """Where artefacts of new experiments are; an address that names no home, where the database is the home's."""
    return ROOT if has_own_database(settings) else artifact_root(settings)


def has_own_database(settings: Settings) -> bool:
    """Whether runs and versions are in the home's own sqlite file."""
    return tracking_uri(settings) == f"sqlite:///{settings.mlflow / DATABASE}"


def mend_addresses(settings: Settings) -> None:
    """Make the addresses in the home's own database say nothing of where the home, or the one it was copied from, lies.

    Raises
    ------
    IntegrityError
        The database cannot be read or written.
    """
    database = settings.mlflow / DATABASE
    if not has_own_database(settings) or not database.exists():
        return
    try:
        make_addresses_relative(database)
    except sqlite3.Error as exc:
        if (refused := disk_error(exc, settings.mlflow)) is not None:
            raise refused from exc
        raise IntegrityError(f"{database} cannot be read or written: {exc}", "restore it from a backup") from exc


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
    copy : Path or None
        Folder of MLflow's own copy of the bundle; None where it is not in the home.
    """

    model: str
    version: str
    bundle_id: str
    aliases: tuple[str, ...]
    copy: Path | None = None


def registered_bundles(settings: Settings) -> list[RegisteredBundle] | None:
    """Every version of every registered model, by model and version; None where the home has no registry of its own.

    Read from the home's database as it is: importing MLflow takes longer than an audit of some months.

    Raises
    ------
    IntegrityError
        The database cannot be read.
    """
    path = settings.mlflow / DATABASE
    if not has_own_database(settings) or not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(_REGISTERED, {"tag": _BUNDLE_TAG}).fetchall()
    except sqlite3.Error as exc:
        raise IntegrityError(f"{path} cannot be read: {exc}", "restore it from a backup") from exc
    return [
        RegisteredBundle(
            model, str(version), bundle_id or "", tuple(sorted(filter(None, (aliases or "").split(",")))),
            _copy_of(settings, address or "", bundle_id or ""),
        )
        for model, version, bundle_id, aliases, address in rows
    ]  # fmt: skip


def _copy_of(settings: Settings, address: str, bundle_id: str) -> Path | None:
    """Where MLflow's copy of a bundle lies: in a logged model, or among a run's files in older homes."""
    path = local_path(settings.mlflow, address)
    return path if path is None or path.name == "bundle" else path / "artifacts" / bundle_id


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
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        given = self._settings.mlflow_tracking_uri
        user, password = login_of(given) if given.startswith(_HTTP) else ("", "")
        handed = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password} | handed_over()
        for name, value in handed.items():
            if name in CREDENTIALS and value:  # a run of a server has read its config, which names no variable anyway
                os.environ.setdefault(name, value)
        for noisy in (
            "alembic", "mlflow.store.db.utils", "mlflow.utils.autologging_utils", "mlflow.system_metrics",
            "mlflow.pyfunc", "mlflow.models",
        ):  # fmt: skip
            logging.getLogger(noisy).setLevel(logging.WARNING)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        uri = tracking_uri(self._settings)
        ensure_dir(Path(artifact_root(self._settings)))
        with resource_lock(self._settings.locks, "mlflow-init", "open MLflow's database", wait_s=_WAIT_S):
            try:
                client = MlflowClient(tracking_uri=uri, registry_uri=uri)
                client.search_experiments(max_results=1)
                client.search_registered_models(max_results=1)
            except MlflowException as exc:
                if (refused := disk_error(exc, self._settings.mlflow)) is not None:
                    raise refused from exc
                where, why = hide_secrets(uri), hide_secrets(str(exc), given)
                raise UnreachableError(
                    f"MLflow at {where} does not answer: {why}", "start it, or unset MLFLOW_TRACKING_URI"
                ) from None  # what it says of itself may hold a password
            mend_addresses(self._settings)
        return client

    def _experiment(self, symbol: str) -> str:
        """Id of the symbol's experiment, made at its first use."""
        if symbol not in self._experiments:
            with resource_lock(self._settings.locks, "mlflow-init", "make an experiment", wait_s=_WAIT_S):
                found = self.client.get_experiment_by_name(symbol)
                if found is None:
                    name = model_name(symbol, 0).removesuffix("-h0")
                    place: str | None = f"{ROOT}{name}"
                    if tracking_uri(self._settings).startswith(_HTTP):
                        place = None  # a server elsewhere keeps its artefacts itself
                    elif not has_own_database(self._settings):
                        place = (Path(artifact_root(self._settings)) / name).as_uri()
                    self._experiments[symbol] = self.client.create_experiment(symbol, artifact_location=place)
                else:
                    self._experiments[symbol] = found.experiment_id
        return self._experiments[symbol]

    @contextlib.contextmanager
    def run(self, symbol: str, name: str, tags: Mapping[str, str] | None = None) -> Iterator[str]:
        """A run that lasts as long as the block, with what the machine did meanwhile (``system/...`` metrics).

        Parameters
        ----------
        symbol : str
            Whose experiment it is part of.
        name : str
            As MLflow's tables show it.
        tags : mapping, optional
            For example ``dagster.run_id`` and ``dagster.partition``.

        Yields
        ------
        str
            MLflow's run id. The run is FINISHED after the block, FAILED where that raised; one whose process was killed
            is closed as KILLED when the next one begins.
        """
        from mlflow.exceptions import MlflowException

        usual = {
            "mlflow.user": getpass.getuser(), "mlflow.source.type": "LOCAL", "mlflow.source.name": "ghtrader",
            "ghtrader.code_version": code_version(), "ghtrader.symbol": symbol, _PROCESS_TAG: _this_process(),
        }  # fmt: skip
        if commit := git_commit():
            usual["mlflow.source.git.commit"] = commit
        marks = {**usual, **dict(tags or {})}
        experiment = self._experiment(symbol)
        self._close_killed(experiment)
        run_id: str = self.client.create_run(experiment, run_name=name, tags=marks).info.run_id
        try:
            with self._system_metrics(run_id):
                yield run_id
        except BaseException:
            with contextlib.suppress(MlflowException):  # a full disk refuses that too: what was wrong first is said
                self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id, "FINISHED")

    def _close_killed(self, experiment: str) -> None:
        """Close runs of this machine whose process is gone."""
        here = _this_process().rpartition(":")[0].rpartition(":")[0]
        for run in self.client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            rest, _, ticks = run.data.tags.get(_PROCESS_TAG, "").rpartition(":")
            host, _, pid = rest.rpartition(":")
            if host == here and pid.isdigit() and str(start_ticks(int(pid))) != ticks:
                self.client.set_terminated(run.info.run_id, "KILLED")

    @contextlib.contextmanager
    def _system_metrics(self, run_id: str) -> Iterator[None]:
        """Use of processors, memory, disk, network and GPUs while the block runs, and once at its end."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        make: Any = SystemMetricsMonitor
        monitor = make(run_id, tracking_uri=tracking_uri(self._settings))
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()
            try:  # a run shorter than MLflow's interval has a value too
                monitor.collect_metrics()
                monitor.publish_metrics(monitor.aggregate_metrics())
                monitor.mlflow_logger.flush()
            except Exception as exc:
                _log.warning("MLflow did not take the system metrics of run %s: %r", run_id, exc)


    def experiment_of(self, symbol: str) -> str:
        """Id of a symbol's experiment, made at its first use."""
        return self._experiment(symbol)

    def log_benchmark(
        self,
        report: BenchmarkReport,
        *,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
        facts: Sequence[DayFacts] = (),
        run_id: str = "",
    ) -> str:
        """Log one walk-forward report; versions made of the same days and configuration carry its scores from then on.

        Parameters
        ----------
        report : BenchmarkReport
            Its scores become metrics (per split with the split as step; means and the gain's bounds), its
            configuration parameters, the whole of it ``benchmark.json``; figures are drawn of it.
        tags : mapping, optional
            For example ``dagster.run_id`` and ``dagster.partition``.
        artifacts : mapping of file name to bytes, optional
            Further plots and the like.
        facts : sequence of DayFacts, optional
            Days of the data set: the run's input, with all their hashes in ``days.json``.
        run_id : str
            Of a run that is open (`run`); a new one where empty.

        Returns
        -------
        str
            MLflow's run id.
        """
        from ghtrader_models.evaluation.report_figures import report_figures

        config = asdict(report.config)
        marks = {
            "ghtrader.family": report.family,
            "ghtrader.horizon": str(report.horizon),
            "ghtrader.kind": "benchmark",
            "ghtrader.splits_hash": report.splits_hash,
            "ghtrader.tests_hash": report.tests_hash,
            "ghtrader.config_hash": _config_hash(config, report.seed, None),
            **({"ghtrader.data_hash": data_hash(facts)} if facts else {}),
            **dict(tags or {}),
        }
        with contextlib.ExitStack() as stack:
            run_id = run_id or stack.enter_context(self.run(report.symbol, f"{report.family}-h{report.horizon}"))
            self._write(
                run_id,
                marks,
                {"family": report.family, "horizon": report.horizon, "seed": report.seed, **config},
                _metrics(report),
            )
            self._artifacts(
                run_id, {"benchmark.json": report.to_dict(), **report_figures(report), **dict(artifacts or {})}
            )
            self._inputs(run_id, report.symbol, facts, "evaluation")
            if facts:
                name = model_name(report.symbol, report.horizon)
                of_these = {key: marks[key] for key in ("ghtrader.data_hash", "ghtrader.config_hash")}
                for version in self._versions(name, {**of_these, "ghtrader.family": report.family}):
                    self._carry_scores(version, run_id)
        return run_id

    def log_comparison(
        self,
        comparison: Comparison,
        *,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, bytes] | None = None,
    ) -> str:
        """Log one comparison: scores and costs of each family as metrics, page and figure as artefacts; its run id."""
        marks = {"horizon": str(comparison.horizon), "kind": "comparison", "splits_hash": comparison.splits_hash}
        params = {
            "families": ",".join(model.family for model in comparison.models),
            "horizon": comparison.horizon,
            "origin": comparison.origin,
            "simulated": comparison.simulated,
        }
        with self.run(comparison.symbol, f"compare-h{comparison.horizon}") as run_id:
            self._write(
                run_id,
                {**{f"ghtrader.{key}": value for key, value in marks.items()}, **dict(tags or {})},
                params,
                _comparison_metrics(comparison),
            )
            self._artifacts(run_id, {"comparison.json": comparison.to_dict(), **dict(artifacts or {})})
        return run_id

    def register_bundle(
        self,
        bundle: Bundle,
        *,
        tags: Mapping[str, str] | None = None,
        alias: str | None = "challenger",
        artifacts: Mapping[str, bytes] | None = None,
        example: np.ndarray | None = None,
        run_id: str = "",
    ) -> str:
        """Log a bundle as an MLflow model and make that a version of its registered model.

        Parameters
        ----------
        bundle : Bundle
            Loaded, hence checked.
        tags : mapping, optional
            On the run and the version.
        alias : str or None
            "challenger" or "champion".
        artifacts : mapping of file name to bytes, optional
            Plots and the like.
        example : float64[n, F], optional
            The model's input example (`logged_model.example_rows`).
        run_id : str
            Of a run that is open (`run`): that in which the bundle was trained. A new one where empty, and the bundle
            is not registered yet.

        Returns
        -------
        str
            The version; that of the first time where the same bundle was registered before.
        """
        name, client, content = model_name(bundle.symbol, bundle.horizon), self.client, bundle.content
        made = bundle.provenance.run
        marks = {
            **dict(tags or {}), _BUNDLE_TAG: bundle.bundle_id, "ghtrader.family": bundle.kind,
            "ghtrader.origin": words_of(content.origins), "ghtrader.horizon": str(bundle.horizon),
            "ghtrader.data_hash": data_hash(content.days), "ghtrader.splits_hash": made.splits_hash,
            "ghtrader.config_hash": _config_hash(content.config, content.seed, content.until_ns),
            "ghtrader.manifest_sha256": bundle.manifest_sha256,
        }  # fmt: skip
        if content.days and (schedule := content.days[-1].schedule_hash):
            marks["ghtrader.schedule_hash"] = schedule
        experiment = self._experiment(bundle.symbol)
        self._ensure_model(name)
        with (
            resource_lock(self._settings.locks, f"mlflow-register:{name}", "register a bundle", wait_s=_WAIT_S),
            contextlib.ExitStack() as stack,
        ):
            version = self._version_of(name, bundle.bundle_id)
            if version is None or run_id:
                title = f"train-{bundle.kind}-h{bundle.horizon}"
                run_id = run_id or stack.enter_context(self.run(bundle.symbol, title))
                params = {"family": bundle.kind, "horizon": bundle.horizon, "seed": content.seed, **content.config}
                curves = {key: [(v, step) for step, v in enumerate(row)] for key, row in made.learning_curves.items()}
                single = {
                    "policy_enter": bundle.policy.enter, "policy_leave": bundle.policy.leave, **made.metrics,
                    **({"train_rows": content.train_rows} if content.train_rows is not None else {}),
                }  # fmt: skip
                metrics = {key: [(float(value), 0)] for key, value in single.items()} | curves
                metrics |= _calibration_metrics(content.calibration)
                self._write(run_id, {**marks, "ghtrader.kind": "training"}, params, metrics)
                self._artifacts(run_id, {"provenance.json": bundle.provenance.to_dict(), **dict(artifacts or {})})
                self._inputs(run_id, bundle.symbol, content.days, "training")
            if version is None:
                model_id = self._log_model(bundle, experiment, run_id, marks, params, example)
                failpoint("mlflow.model->version")
                with _usual_uri(tracking_uri(self._settings)):
                    found = client.create_model_version(
                        name, f"models:/{model_id}", run_id=run_id, tags=marks, model_id=model_id
                    )
                version = str(found.version)
                if (benchmark := self._benchmark_of(experiment, marks)) is not None:
                    self._carry_scores(found, benchmark.info.run_id)
        if alias is not None:
            self._alias(name, version, alias)
        return version

    def log_copy(self, bundle: Bundle, version: str, example: np.ndarray | None = None) -> None:
        """Write MLflow's own copy of a registered bundle again, where it was lost or damaged."""
        name = model_name(bundle.symbol, bundle.horizon)
        found = self.client.get_model_version(name, version)
        source, run_id = found.source or "", found.run_id or ""
        if source.startswith("models:/"):
            self._write_model(bundle, source.removeprefix("models:/"), run_id, example)
        else:
            self.client.log_artifacts(run_id, str(bundle.path), "bundle")

    def set_alias(self, bundle: Bundle, alias: str) -> str:
        """Point an alias of the bundle's registered model at its version, registering it where needed."""
        return self.register_bundle(bundle, alias=alias)

    def remove_alias(self, model: str, alias: str) -> None:
        """Make an alias of a registered model point at nothing."""
        self.client.delete_registered_model_alias(model, alias)

    def remove_version(self, model: str, version: str) -> None:
        """Take a version out of the registry, with the aliases that point at it; its run and its scores stay."""
        self.client.delete_model_version(model, version)

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
        found = self._versions(name, {_BUNDLE_TAG: bundle_id})
        return str(found[0].version) if found else None

    def _versions(self, name: str, tags: Mapping[str, str]) -> list[ModelVersion]:
        """Versions of a registered model that have these tags, the oldest first."""
        asked = " and ".join([f"name = '{name}'", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())])
        return sorted(self.client.search_model_versions(asked), key=lambda found: int(found.version))

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        with resource_lock(self._settings.locks, "mlflow-init", "make a registered model", wait_s=_WAIT_S):
            try:
                self.client.get_registered_model(name)
            except MlflowException:
                self.client.create_registered_model(name)

    def _log_model(
        self,
        bundle: Bundle,
        experiment: str,
        run_id: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        example: np.ndarray | None,
    ) -> str:
        """Log the bundle as a model, an output of the run; returns its id."""
        from mlflow.entities import LoggedModelOutput

        logged = self.client.create_logged_model(
            experiment,
            name=f"{bundle.kind}-h{bundle.horizon}",
            source_run_id=run_id,
            tags=dict(tags),
            params={key: str(value) for key, value in params.items()},
            model_type=bundle.kind,
        )
        model_id: str = logged.model_id
        self._write_model(bundle, model_id, run_id, example)
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])
        self.client.finalize_logged_model(model_id, "READY")
        return model_id

    def _write_model(self, bundle: Bundle, model_id: str, run_id: str, example: np.ndarray | None) -> None:
        from mlflow.models import Model

        from ghtrader_models.registry.logged_model import save_model

        place = self.client.get_logged_model(model_id).artifact_location
        model = Model(artifact_path=place, run_id=run_id, model_uuid=model_id, model_id=model_id)
        with tempfile.TemporaryDirectory() as folder:
            save_model(bundle, Path(folder) / "model", model, example)
            self.client.log_model_artifacts(model_id, str(Path(folder) / "model"))

    def _benchmark_of(self, experiment: str, marks: Mapping[str, str]) -> Run | None:
        """The newest walk-forward run on the same days, with the same family, configuration and seed."""
        keys = ("ghtrader.family", "ghtrader.horizon", "ghtrader.data_hash", "ghtrader.config_hash")
        asked = {"ghtrader.kind": "benchmark"} | {key: marks[key] for key in keys}
        found = self.client.search_runs(
            [experiment],
            filter_string=" and ".join(f"tags.`{key}` = '{value}'" for key, value in asked.items()),
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return found[0] if found else None

    def _carry_scores(self, version: ModelVersion, benchmark_run: str) -> None:
        """Put the scores of a walk-forward run on a version, as tags, and on its model, as metrics."""
        from mlflow.entities import Metric

        run = self.client.get_run(benchmark_run)
        scores = {name: run.data.metrics[name] for name in _SCORES if name in run.data.metrics}
        tags = {f"ghtrader.{name}": f"{value:.6g}" for name, value in scores.items()}
        tags |= {name: run.data.tags[name] for name in ("ghtrader.splits_hash", "ghtrader.tests_hash")}
        for name, value in {**tags, "ghtrader.benchmark_run": benchmark_run}.items():
            self.client.set_model_version_tag(version.name, str(version.version), name, value)
        model_id = (version.source or "").removeprefix("models:/")
        if model_id == version.source or version.run_id is None:
            return  # of an older version, which logged files and no model
        metrics: list[Metric] = [
            Metric(
                f"benchmark_{name}", value, run.info.start_time, 0, model_id=model_id, run_id=version.run_id,
                dataset_name=run.data.tags["ghtrader.symbol"],
                dataset_digest=version.tags["ghtrader.data_hash"][:_DIGEST_LENGTH],
            )
            for name, value in scores.items()
        ]  # fmt: skip
        self.client.log_batch(version.run_id, metrics=metrics)

    def _write(
        self,
        run_id: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Mapping[str, list[tuple[float, int]]],
    ) -> None:
        """Tags, parameters and (value, step) pairs in one batch."""
        from mlflow.entities import Metric, Param, RunTag

        now = self.client.get_run(run_id).info.start_time
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, step) for key, row in metrics.items() for value, step in row],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def _inputs(self, run_id: str, symbol: str, facts: Sequence[DayFacts], context: str) -> None:
        """The days of a data set as the run's input, and all they say of themselves as ``days.json``."""
        if not facts:
            return
        self.client.log_inputs(run_id, [_dataset_input(symbol, facts, context)])
        self._artifacts(run_id, {"days.json": [fact.to_dict() for fact in facts]})

    def _artifacts(self, run_id: str, contents: Mapping[str, Any]) -> None:
        """Files of a run: bytes as they are, everything else as JSON."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in contents.items():
                data = content if isinstance(content, bytes) else json.dumps(content, indent=2).encode()
                (Path(folder) / name).write_bytes(data)
            self.client.log_artifacts(run_id, folder)


@contextlib.contextmanager
def _usual_uri(uri: str) -> Iterator[None]:
    """Have MLflow look for models in this place: its registry asks for the usual one, whatever its client was given."""
    import mlflow

    name = "MLFLOW_TRACKING_URI"
    before = os.environ.get(name)
    put: Any = mlflow.set_tracking_uri  # which sets the variable too, for processes that are started meanwhile
    put(uri)
    try:
        yield
    finally:
        put(None)
        if before is not None:
            os.environ[name] = before


def _this_process() -> str:
    """Machine, process and when that began: no later process has the same."""
    return f"{socket.gethostname()}:{os.getpid()}:{start_ticks(os.getpid())}"


def _config_hash(config: Mapping[str, Any], seed: int, until_ns: int | None) -> str:
    """What a fit depends on besides its days: equal for a bundle and the report that speaks of it."""
    return content_hash({"config": dict(config), "seed": seed, "until_ns": until_ns})[:16]


def _dataset_input(symbol: str, facts: Sequence[DayFacts], context: str) -> DatasetInput:
    """Days of features and labels as MLflow's data set; its source is a folder under the home."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {
        "days": len(facts),
        "first_day": facts[0].day.isoformat(),
        "last_day": facts[-1].day.isoformat(),
        "rows": sum(fact.rows for fact in facts),
        "contracts": sorted({fact.contract for fact in facts}),
        "data_hash": data_hash(facts),
        "schedule_hash": facts[-1].schedule_hash,
    }
    found = Dataset(
        name=symbol,
        digest=data_hash(facts)[:_DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": f"data/features/{symbol}"}),
        profile=json.dumps(profile),
    )
    return DatasetInput(found, [InputTag("mlflow.data.context", context)])


def _calibration_metrics(calibration: Calibration | None) -> dict[str, list[tuple[float, int]]]:
    """Of a bundle: what it came to on the span it was fitted on."""
    if calibration is None:
        return {}
    before, after = calibration.before, calibration.after
    found = {
        "calibration_slope": calibration.slope,
        "calibration_logloss_before": before.logloss,
        "calibration_logloss_after": after.logloss,
        "calibration_ece_before": before.ece,
        "calibration_ece_after": after.ece,
    }
    return {name: [(value, 0)] for name, value in found.items()}


def _comparison_metrics(comparison: Comparison) -> dict[str, list[tuple[float, int]]]:
    """`<family>.<metric>`, and `<baseline>.logloss`."""
    found: dict[str, float | None] = {}
    for model in comparison.models:
        numbers = model.figures
        bounds = {"logloss_gain_low": numbers.gain_bounds.low, "logloss_gain_high": numbers.gain_bounds.high}
        for name, value in {
            "logloss": numbers.logloss,
            "logloss_gain": numbers.gain,
            **bounds,
            "ece": numbers.ece,
            "latency_p50_us": numbers.p50_us,
            "latency_p99_us": numbers.p99_us,
            "model_bytes": numbers.model_bytes,
            "parameters": numbers.parameters,
            "fit_seconds": model.fit_seconds,
            "net_pnl": numbers.net_pnl,
        }.items():
            found[f"{model.family}.{name}"] = value
    for baseline in comparison.baselines:
        found[f"{baseline.name}.logloss"] = baseline.figures.logloss
    return {name: [(float(value), 0)] for name, value in found.items() if value is not None}


def _metrics(report: BenchmarkReport) -> dict[str, list[tuple[float, int]]]:
    metrics: dict[str, list[tuple[float, int]]] = {}
    scored = {"": report.model, **{f"{name}_": found for name, found in report.baselines.items()}}
    if report.uncalibrated is not None:
        scored["uncalibrated_"] = report.uncalibrated
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
