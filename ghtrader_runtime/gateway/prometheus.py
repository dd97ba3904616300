"""Turns the gateway's last published state into metrics for Prometheus.

Read when somebody asks; nothing is counted a second time and the hot path pays nothing. Who may see them is
`metrics_server`'s business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ghtrader_runtime.bus.link_state import LinkState
from ghtrader_runtime.bus.messages import AccountState
from ghtrader_runtime.gateway.metrics_server import MetricsServer, make_token
from ghtrader_runtime.runlog.latency import BUCKETS_NS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from ghtrader_runtime.gateway.context import GatewayContext

_TRADING_STATES = ("ACTIVE", "REDUCING", "HALTED")


class RuntimeCollector:
    """Turns an `AccountState` into metrics.

    Parameters
    ----------
    state : callable
        Gives the last state, None before the first.
    further : callable
        Gives further counters by name: dropped messages, journal lines lost.
    """

    def __init__(self, state: Callable[[], AccountState | None], further: Callable[[], dict[str, float]]) -> None:
        self._state, self._further = state, further

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client for each scrape."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        state = self._state()
        if state is None:
            return
        labels, values = ["account", "mode"], [state.account, state.mode]

        def gauge(name: str, text: str, value: float) -> Metric:
            family = GaugeMetricFamily(f"ghtrader_{name}", text, labels=labels)
            family.add_metric(values, value)
            return family

        yield gauge("killed", "1 while the kill switch is tripped", float(state.killed))
        yield gauge("data_age_seconds", "since the last tick, our clock", state.data_age_s)
        yield gauge("net_pnl_cny", "after fees since the run began, held lots at the last mid", state.net_pnl)
        yield gauge("fees_cny", "paid since the run began", state.fees)
        yield gauge("equity_cny", "of the account", state.balance)
        yield gauge("working_orders", "orders that may still fill", state.working)
        yield gauge("strategies_ready", "strategies that answer", len(state.ready))
        yield _by_name("position_lots", "net, negative short", "symbol", state.positions, labels, values)
        yield _by_name("target_lots", "wanted, negative short", "symbol", state.targets, labels, values)
        states = {name: float(name == state.trading_state) for name in _TRADING_STATES}
        yield _by_name("trading_state", "1 for the state in force", "state", states, labels, values)
        family = GaugeMetricFamily("ghtrader_link", "1 for the state a link is in", labels=[*labels, "link", "state"])
        for link, now in worst_by_kind(state.links).items():
            for link_state in LinkState:
                family.add_metric([*values, link, str(link_state)], float(now == link_state))
        yield family
        for name, count in {**state.counts, **self._further()}.items():
            counter = CounterMetricFamily(f"ghtrader_{name}", "since the run began", labels=labels)
            counter.add_metric(values, count)
            yield counter
        yield _stages(state, labels, values)


def _by_name(name: str, text: str, label: str, found: dict[str, Any], labels: list[str], values: list[str]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"ghtrader_{name}", text, labels=[*labels, label])
    for key, value in found.items():
        family.add_metric([*values, key], float(value))
    return family


def worst_by_kind(links: dict[str, str]) -> dict[str, str]:
    """State of the worst link of each kind: `strategy-1234-ab12cd` -> `strategy`, so that labels do not grow with every
    restart."""
    severity = {str(name): rank for rank, name in enumerate(("LIVE", "CONNECTING", "DEGRADED", "STALE", "DOWN"))}
    found: dict[str, str] = {}
    for link, now in links.items():
        kind = link.split("-", 1)[0]
        if kind not in found or severity.get(now, 9) > severity.get(found[kind], 9):
            found[kind] = now
    return found


def _stages(state: AccountState, labels: list[str], values: list[str]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    text = "of a tick's way to its answer: receive, factors, inference, decision, send, acknowledge, total"
    family = HistogramMetricFamily("ghtrader_tick_to_target_seconds", text, labels=[*labels, "stage"])
    bounds = [f"{bound / 1e9:g}" for bound in BUCKETS_NS] + ["+Inf"]
    for stage, plain in state.stages.items():
        seen, buckets = 0, []
        for bound, count in zip(bounds, plain[:-1], strict=True):
            seen += count
            buckets.append((bound, seen))
        family.add_metric([*values, stage], buckets=buckets, sum_value=plain[-1] / 1e9)
    return family


def serve_metrics(
    context: GatewayContext, last_state: Callable[[], AccountState | None], stack: contextlib.ExitStack
) -> str:
    """Prometheus for a gateway until `stack` unwinds; where to find it."""

    def further() -> dict[str, float]:
        return {
            "malformed": context.bus.malformed, "unsent": context.bus.unsent, "strangers": context.refused.strangers,
            "unauthorized": context.refused.unauthorized, "missed_ticks": context.broker.missed,
            "journal_dropped": context.journal.dropped,
        }  # fmt: skip

    settings = context.settings
    server = MetricsServer(RuntimeCollector(last_state, further), make_token(settings), settings.metrics_port)
    stack.callback(server.close)
    return server.url
