"""Pages that are generated when the site is built: the command line and the schemas, from the program itself."""

from __future__ import annotations

import json
import re
from typing import Any


def command_line_reference() -> str:
    """Return the page of the command line as Markdown: every command with its arguments and options by panel."""
    import typer
    from typer.main import get_command

    from regkd_edge.cli.app import app

    root = get_command(app)
    context = typer.Context(root, info_name="regkd-edge")
    parts = ["# Command line\n", f"{_plain(root.help)}\n", "`regkd-edge COMMAND --help` shows the same.\n"]
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        parts += [
            f"## {name}\n",
            f"```text\n{' '.join(command.get_usage(inner).split()).removeprefix('Usage: ')}\n```\n",
        ]
        parts.append(f"{_plain(command.help)}\n")
        panels: dict[str, list[Any]] = {}
        for parameter in command.get_params(inner):
            if not getattr(parameter, "hidden", False):
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(parameter)
        for panel, parameters in panels.items():
            parts.append(f"**{panel}**\n\n| name | meaning |\n|---|---|")
            parts += [_row(parameter) for parameter in parameters]
            parts.append("")
    return "\n".join(parts)


def configuration_reference() -> str:
    """Return the page of the YAML file as Markdown, and the JSON schemas of the files with a fixed form."""
    from pydantic import TypeAdapter

    from regkd_edge.bundle.schema import _List
    from regkd_edge.config import RunConfig
    from regkd_edge.config.template import commented_yaml
    from regkd_edge.engines import Manifest

    schemas = {
        "run.yaml": RunConfig.model_json_schema(),
        "manifest.json of an engine": TypeAdapter(Manifest).json_schema(),
        "bundle.json": _List.model_json_schema(),
    }
    parts = ["# Configuration and schemas\n", "What `regkd-edge init` writes:\n", f"```yaml\n{commented_yaml()}```\n"]
    for name, schema in schemas.items():
        parts.append(f"## {name}\n\nAs a JSON schema:\n\n```json\n{json.dumps(schema, indent=1)}\n```\n")
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        flags = "`, `".join([*parameter.opts, *parameter.secondary_opts])
        name = f"`{flags}`"
    return f"| {name} | {_cell(getattr(parameter, 'help', None))} |"


def _cell(text: str | None) -> str:
    return " ".join(_plain(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _plain(text: str | None) -> str:
    """Return a help text without the marks of a terminal."""
    return re.sub(r"\[/?(?:bold|dim|green|red|cyan|yellow)\]", "", text or "").replace("\b", "").strip()


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages (an event of MkDocs)."""
    from mkdocs.structure.files import File

    for name, page in (("cli", command_line_reference), ("configuration", configuration_reference)):
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files
