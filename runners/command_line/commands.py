"""The commands: a row for each, which is one function documented once.

Nothing heavy is imported here, so that help comes at once.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

COMMANDS: dict[str, str] = {
    "train": "runners.training.command:train_command",
    "evaluate": "runners.evaluation.evaluate:evaluate",
    "compare": "runners.evaluation.compare_algorithms:compare",
    "reproduce": "runners.studies.reproduce:reproduce",
    "theory": "runners.studies.convergence.study:theory",
    "render": "runners.rendering.video:render",
    "report": "runners.reporting.report:report",
    "push": "runners.sharing.push:push",
    "export": "runners.export.export:export",
    "track": "runners.tracking.command:track",
    "list": "runners.presets:list_presets",
}
"""Location of each command's function. Its signature and docstring are the command's options and
help; what it returns is printed."""

HELP_WORDS = ("-h", "--help", "--help-all")
"""Words that ask a command for its options."""
HELP = ((), *((word,) for word in HELP_WORDS))
"""Arguments that ask for the commands."""


def usage() -> str:
    """Text that `rlmaml --help` prints: the commands, each with the first line of its docstring."""
    width = max(map(len, COMMANDS))
    lines = [
        f"  rlmaml {name:<{width}}  {_first_line(location)}" for name, location in COMMANDS.items()
    ]
    return "\n".join(
        [
            _first_line("rlmaml"),
            "",
            *lines,
            "",
            "`rlmaml train PRESET --help-all`, and the others with --help, explain every option.",
            "--trust, of any command: import the modules that a run's files name (MODULE:CLASS).",
        ]
    )


def _first_line(location: str) -> str:
    """First line of the docstring at MODULE or MODULE:FUNCTION, which is read and not imported."""
    module, _, function = location.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    node: ast.AST = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    if function:
        node = next(
            each
            for each in ast.iter_child_nodes(node)
            if isinstance(each, ast.FunctionDef) and each.name == function
        )
    return (ast.get_docstring(node) or "").split("\n")[0]
