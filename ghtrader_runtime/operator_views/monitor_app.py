"""Shows a running gateway in the terminal (textual): live book, signal, orders, PnL, risk, links, latency.

Fits 80x24 over SSH. It only looks; the one thing it can do is trip the durable kill switch, as `ghtrader kill trip`
does.
"""

from __future__ import annotations

import time

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Label, Static

from ghtrader_base.errors import GhtraderError
from ghtrader_base.settings import Settings
from ghtrader_runtime.operator_views import kill_commands, monitor_panels
from ghtrader_runtime.operator_views.gateway_view import LiveView, RunningGateway

REFRESH_S = 0.25


def _text(lines: list[monitor_panels.Line]) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for number, (line, style) in enumerate(lines):
        text.append(("\n" if number else "") + line, style or None)
    return text


class KillScreen(ModalScreen[str]):
    """Asks why; an empty answer or Escape leaves the switch alone."""

    CSS = "KillScreen { align: center middle; } #ask { width: 60; height: auto; border: heavy red; padding: 0 1; }"
    BINDINGS = [Binding("escape", "leave", "Cancel")]

    def __init__(self, account: str) -> None:
        super().__init__()
        self._account = account

    def compose(self) -> ComposeResult:
        """The question and its field."""
        with Vertical(id="ask"):
            yield Label(f"Trip the kill switch of {self._account}? It stays tripped until it is reset.")
            yield Input(placeholder="reason; Enter trips, Escape cancels", id="reason")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter."""
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Escape."""
        self.dismiss("")


class Monitor(App[None]):
    """The app.

    Parameters
    ----------
    settings : Settings
    gateway : RunningGateway
        Whom to follow.
    """

    TITLE = "ghTrader monitor"
    CSS = """
    #head { height: 1; }
    #middle { height: 12; }
    #book { width: 31; height: 12; }
    #right { width: 1fr; height: 12; }
    #links { height: 2; }
    #orders { height: 5; }
    #latency { height: 3; }
    """
    BINDINGS = [Binding("k", "kill", "Trip kill switch"), Binding("q", "quit", "Quit")]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, settings: Settings, gateway: RunningGateway) -> None:
        super().__init__()
        self._settings, self._gateway = settings, gateway
        self.view = LiveView(settings, gateway.state_dir, gateway.symbol)
        self.told = ""
        # Held here and not looked up: a last refresh may come when the screen has been taken apart.
        self._panels = {name: Static(id=name) for name in ("head", "book", "right", "links", "orders", "latency")}

    def compose(self) -> ComposeResult:
        """The panels."""
        yield self._panels["head"]
        with Horizontal(id="middle"):
            yield self._panels["book"]
            yield self._panels["right"]
        for name in ("links", "orders", "latency"):
            yield self._panels[name]
        yield Footer()

    def on_mount(self) -> None:
        """Start following."""
        self.set_interval(REFRESH_S, self.follow)
        self.follow()

    def follow(self) -> None:
        """Take what came and draw it."""
        self.view.poll()
        picture, link = self.view.picture, self.view.link
        state = picture.state
        self._show("head", monitor_panels.headline(picture, self._gateway.broker))
        self._show("links", monitor_panels.links(picture, link.state))
        if state is None:
            return
        right = [*monitor_panels.risk(state), *monitor_panels.money(state), ("", ""), *monitor_panels.signal(state)]
        if not link.usable:
            silent = link.silent_s(time.monotonic_ns())
            right.insert(0, (f"NOTHING RECEIVED FOR {silent:.0f} s: what is shown is old", "bold white on red"))
        if state.ended:
            right.insert(0, (f"the run has ended: {state.ended}"[:48], "bold yellow"))
        if self.told:
            right.insert(0, (self.told[:48], "bold yellow"))
        self._show("book", monitor_panels.book(picture.values))
        self._show("right", right)
        self._show("orders", monitor_panels.orders(state))
        self._show("latency", monitor_panels.latency(state))

    def _show(self, panel: str, lines: list[monitor_panels.Line]) -> None:
        self._panels[panel].update(_text(lines))

    def action_kill(self) -> None:
        """The k key."""
        self.push_screen(KillScreen(self._gateway.account), self._trip)

    def _trip(self, reason: str | None) -> None:
        if not reason:
            self.told = "the kill switch was left alone"
            return
        try:
            kill_commands.require_durable(
                kill_commands.trip(self._settings, self._gateway.account, reason, self._gateway.mode)
            )
            self.told = "kill switch tripped"
        except GhtraderError as exc:
            self.told = exc.message

    def on_unmount(self) -> None:
        """Leave the bus."""
        self.view.close()


def run_monitor(settings: Settings, gateway: RunningGateway) -> None:
    """Show it until q."""
    Monitor(settings, gateway).run()
