"""Generates the pages of `docs/reference/` and `env.example` from the code: `python -m ghtrader.reference_docs`.

Each page comes from the objects the program itself uses (the command tree, `Settings`, the risk rules, the trading
enums, the SQL views, the factor library), so that no fact is written down a second time. Run from the root of a
checkout (`make docs`); `tests/unit/cli/test_reference_docs.py` holds page and code equal. Hand-written pages
(`docs/reference/run_files.md`, the concepts) are not made here.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ghtrader.cli import build_app
from ghtrader_assets.results.run_metrics import SCHEMA as RUN_METRICS_SCHEMA
from ghtrader_base.files import SHARED_MODE, atomic_write_text
from ghtrader_base.settings import ENV_ONLY, FOLDER_NAME, TOML_NAME, Settings
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.sql.views import METRICS, VIEWS
from ghtrader_market.stores.lake.manifests import PARTITION_NAME, SCHEMAS
from ghtrader_models.factors.library import docs_page as factor_page
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.orders import OrderStatus, TradingState
from ghtrader_runtime.core.risk_rules import RiskLimits

_GENERATED = "Generated from the code by `make docs`; a test holds page and code equal."
_KINDS: dict[Any, str] = {
    str: "text",
    SecretStr: "secret",
    Path: "folder",
    date: "day, YYYY-MM-DD",
    bool: "true or false",
    int: "whole number",
    float: "number",
}
_BOUNDS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}"}
GROUPS: tuple[tuple[str, str], ...] = (
    ("Where everything is written", "GHTRADER_HOME"),
    ("Quote service (shinnytech account; `ghtrader exchange serve` prints the simulated exchange's)", "TQSDK_"),
    (
        "Real account. Orders need GHTRADER_LIVE_ENABLED=true and --confirm-live I_UNDERSTAND besides",
        "TQ_(BROKER|ACCOUNT)|GHTRADER_LIVE",
    ),
    ("Addresses of TqSdk's servers, only to use others than the vendor's", "TQ_"),
    ("QuestDB beside the lake", "GHTRADER_QUESTDB|GHTRADER_PIPELINE"),
    ("Downloads", "GHTRADER_(MAX_PARALLEL_TQSDK|TQSDK|INGEST|DAILY_UPDATE)"),
    ("Locks", "GHTRADER_LOCK"),
    ("Main series", "GHTRADER_(VARIETIES|FIRST_DAY|L5_START|MAIN_L5|SCHEDULE)"),
    ("Quality gate", "GHTRADER_QUALITY"),
    ("Risk limits and policies of a gateway (an option on the command line goes first)", "GHTRADER_RISK"),
    ("Everything else", ""),
)
"""Heading and the pattern of the names below it; a setting stands under the first pattern that matches."""


def cli_page() -> str:
    """`docs/reference/cli.md`: every command with its options."""
    root: Any = typer.main.get_command(build_app())
    commands = list(_walk(root))
    lines = ["# Command line", "", _GENERATED, "", f"{root.help} {root.epilog}", ""]
    lines += ["Exit codes: 0 done; 1 failed, or findings; 2 usage or settings; 3 refused (a gate, a lock, the kill"]
    lines += ["switch); 4 a server that is needed is not reachable. `--json` writes one document to stdout.", ""]
    lines += ["| command | does |", "|---|---|"]
    for path, command in commands:
        lines.append(f"| [`{path}`](#{_anchor('ghtrader ' + path)}) | {_cell(_first_paragraph(command.help))} |")
    for path, command in commands:
        lines += ["", f"## ghtrader {path}", ""]
        text, _, example = inspect.cleandoc(command.help or "").partition("Example: ")
        lines += [text.strip(), ""] + (["```", example.strip(), "```", ""] if example else [])
        lines += ["| option | default | meaning |", "|---|---|---|"]
        lines += [_option_row(parameter) for parameter in command.params if not parameter.hidden]
    return "\n".join(lines) + "\n"


def _walk(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _walk(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def _option_row(parameter: Any) -> str:
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = str(parameter.metavar or parameter.name).upper()
    elif parameter.metavar:
        names += f" {parameter.metavar}"
    given = parameter.default
    if isinstance(given, bool):
        given = parameter.opts[0] if given else (parameter.secondary_opts or [""])[0]
    shown = "" if given in (None, "", (), []) or callable(given) else f"`{given}`"
    default = "required" if parameter.required else shown
    return f"| `{names}` | {default} | {_cell(getattr(parameter, 'help', None) or '')} |"


def settings_page() -> str:
    """`docs/reference/settings.md`: every setting by group."""
    lines = ["# Settings", "", _GENERATED, ""]
    lines += [
        "A value comes from, in this order: the environment (in the servers of `ghtrader up`: its own), `.env`, "
        f"`{TOML_NAME}` (`ghtrader config set NAME VALUE` writes it there), the default."
    ]
    lines += [
        f"Both files are those of the home, or of the folder that the variable `{FOLDER_NAME}` names; the current "
        "folder has no say.",
        "Secrets, the live gate and addresses of servers are refused in a file that somebody else may write."
    ]
    lines += ["**env** marks secrets and the live gate: environment or `.env` alone."]
    lines += ["`ghtrader config show` prints what is in force and where it came from."]
    for title, rows in _grouped_settings():
        lines += ["", f"## {title}", "", "| name | type | range | default | meaning | |", "|---|---|---|---|---|---|"]
        for info in rows:
            alone = "**env**" if info.alias in ENV_ONLY else ""
            default = f"`{_default(info)}`" if _default(info) else ""
            cells = (f"`{info.alias}`", _kind(info), _range(info), default, _cell(info.description or ""), alone)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """`env.example`: every setting once, commented out, with its default."""
    lines = [f"# {_GENERATED}"]
    lines += ["# Copy to .env of the home (var/.env), fill in what you use. Secrets stand there or in the environment,"]
    lines += [f"# never in {TOML_NAME}."]
    for title, rows in _grouped_settings():
        lines += ["", f"# ---- {title}"]
        for info in rows:
            facts = ", ".join(part for part in (_kind(info), _range(info)) if part)
            lines += [f"# {info.description} ({facts})", f"#{info.alias}={_default(info)}"]
    return "\n".join(lines) + "\n"


def _grouped_settings() -> Iterator[tuple[str, list[FieldInfo]]]:
    left = list(Settings.model_fields.values())
    for title, pattern in GROUPS:
        rows = [info for info in left if re.match(pattern, str(info.alias))]
        left = [info for info in left if info not in rows]
        if rows:
            yield title, rows


def _kind(info: FieldInfo) -> str:
    words = info.annotation
    choices = tuple(words) if isinstance(words, type) and issubclass(words, StrEnum) else get_args(words)
    if choices:
        return " or ".join(str(choice) for choice in choices)
    return _KINDS[info.annotation]


def _range(info: FieldInfo) -> str:
    bounds = [(name, getattr(bound, name, None)) for bound in info.metadata for name in _BOUNDS]
    return ", ".join(_BOUNDS[name].format(value) for name, value in bounds if value is not None)


def _default(info: FieldInfo) -> str:
    if isinstance(info.default, SecretStr):
        return info.default.get_secret_value()
    if isinstance(info.default, bool):
        return str(info.default).lower()
    return f"{info.default:.10g}" if isinstance(info.default, float) else str(info.default)


def risk_rules_page() -> str:
    """`docs/reference/risk_rules.md`: what each rule refuses, and by which field, option and setting it is set."""
    lines = ["# Risk rules", "", _GENERATED, ""]
    lines += ["What they are for, and what stands behind them: [order safety](../concepts/order_safety.md)."]
    for title, of in (
        ("Order rules", RiskLimits.rules),
        ("Account rules, which trip the kill switch", RiskLimits.account_rules),
    ):
        lines += ["", f"## {title}", "", "| rule | says | set by |", "|---|---|---|"]
        for rule, names in _rules_with_fields(of):
            says = _cell(inspect.getdoc(type(rule)) or "")
            lines.append(f"| {type(rule).__name__} | {says} | {', '.join(f'`{name}`' for name in names)} |")
    lines += ["", "## Limits", "", "| field | default | option | setting | meaning |", "|---|---|---|---|---|"]
    trade: Any = typer.main.get_command(build_app()).commands["trade"]  # type: ignore[attr-defined]
    options = {parameter.name: parameter.opts[0] for parameter in trade.params}
    for field in dataclasses.fields(RiskLimits):
        info = Settings.model_fields.get(f"risk_{field.name}")
        cells = (
            f"`{field.name}`",
            f"{field.default:,}",
            f"`{options[field.name]}`" if field.name in options else "",
            f"`{info.alias}`" if info else "",
            _cell(str(info.description) if info else _attribute_texts(RiskLimits).get(field.name, "")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rules_with_fields(of: Callable[[RiskLimits], tuple[Any, ...]]) -> Iterator[tuple[Any, list[str]]]:
    """Each rule with the fields of `RiskLimits` that it depends on: those whose change changes the rule."""
    usual = RiskLimits()
    for place, rule in enumerate(of(usual)):
        names = []
        for field in dataclasses.fields(RiskLimits):
            changed = dataclasses.replace(usual, **{field.name: getattr(usual, field.name) + 1})
            if of(changed)[place] != rule:
                names.append(field.name)
        yield rule, names


def trading_states_page() -> str:
    """`docs/reference/trading_states.md`: the states of trading and of an order, and what limits trading."""
    lines = ["# Trading states, order states and block reasons", "", _GENERATED, ""]
    lines += ["What brings a state about and what ends it: [order safety](../concepts/order_safety.md)."]
    for title, states in (("Trading", TradingState), ("Orders", OrderStatus), ("What limits trading", BlockReason)):
        texts = _attribute_texts(states)
        lines += ["", f"## {title}", "", "| state | means |", "|---|---|"]
        lines += [f"| `{state.value}` | {_cell(texts[state.name])} |" for state in states]
    return "\n".join(lines) + "\n"


def _attribute_texts(cls: type) -> dict[str, str]:
    """What a class's docstring says of each name: a line `name` or `name : type` (or several names), then its text."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(cls) or "").splitlines():
        if line.startswith("    "):
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
        else:
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
    return texts


def sql_views_page() -> str:
    """`docs/reference/sql_views.md`: the views of `ghtrader sql` with their columns."""
    lines = ["# SQL views", "", _GENERATED, ""]
    lines += ["What a query may do, and what it may not: [SQL](../concepts/sql.md). Views over the lake have their key"]
    lines += ["and `date` (the trading day) as columns besides; a data set without days has no view. `datetime_ns` is"]
    lines += ["UTC epoch nanoseconds; volume and amount are cumulative over the trading day."]
    schemas = {**SCHEMAS, "daily_bars": DAILY_BAR_SCHEMA}
    told = {
        "features": "`datetime_ns`, a float32 column a [factor](factors.md), then the provenance of `main_l5`",
        "labels": "`datetime_ns`, `mid`, an int8 column a horizon (0 DOWN, 1 FLAT, 2 UP, -1 none), then the provenance",
    }
    for view, dataset in VIEWS.items():
        lines += ["", f"## {view}", "", f"Data set `{dataset}`, key `{PARTITION_NAME[dataset]}`.", ""]
        lines.append(_columns(schemas[dataset]) if dataset in schemas else f"{told[dataset]}.")
    lines += ["", f"## {METRICS}", "", "Every score of every walk-forward and factor report, a row a number.", ""]
    lines.append(_columns(RUN_METRICS_SCHEMA))
    return "\n".join(lines) + "\n"


def _columns(schema: pa.Schema) -> str:
    return "; ".join(f"`{field.name}` {field.type}" for field in schema) + "."


def _first_paragraph(text: str | None) -> str:
    return inspect.cleandoc(text or "").partition("\n\n")[0].partition("Example: ")[0].strip()


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _cell(text: str) -> str:
    """One line of a table: no line breaks, no bars that would end the cell."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/cli.md": cli_page,
    "docs/reference/settings.md": settings_page,
    "docs/reference/factors.md": factor_page.to_markdown,
    "docs/reference/risk_rules.md": risk_rules_page,
    "docs/reference/trading_states.md": trading_states_page,
    "docs/reference/sql_views.md": sql_views_page,
    "env.example": env_example,
}
"""Path from the root of a checkout -> what makes its text."""


def main() -> None:
    """Write every page that differs from the code, under the current folder."""
    for path, make in PAGES.items():
        text = make()
        if not Path(path).exists() or Path(path).read_text("utf-8") != text:
            atomic_write_text(Path(path), text, SHARED_MODE)
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
