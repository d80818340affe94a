"Every command with its options, from the application itself."

from collections.abc import Iterator
from typing import Any

from .tables import code, first, table


def commands() -> Iterator[tuple[str, Any]]:
    "Every command with its full name, as click sees it."
    from typer.main import get_command

    from runners.cli import app

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, one in command.commands.items():
                if not one.hidden:
                    yield from walk(one, (*words, name))
        else:
            yield " ".join(words), command

    yield from walk(get_command(app), ("perps-kit",))


def cli() -> str:
    "Every command with its arguments and options, from the application itself."
    text = (
        "# Command line\n\nWhat `--help` says of each command, on one page. Exit codes: 0 good; 1 a check or a run failed; 2 something to "
        "mend, in one sentence that names the remedy.\n\n"
    )
    known = list(commands())
    text += table(("command", "what it does"), [(f"[`{name}`](#{name.replace(' ', '-')})", first(one.help)) for name, one in known])
    for name, one in known:
        taken = [p for p in one.params if p.param_type_name == "argument"]
        given = [p for p in one.params if p.param_type_name == "option" and not p.hidden]
        words = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in taken]
        text += f"\n## {name}\n\n    {' '.join([name, *words, '[OPTIONS]' * bool(given)])}\n\n{one.help or ''}\n\n"
        rows = [(code(p.name.upper()), getattr(p, "help", "") or "", "needed" if p.required else "") for p in taken]
        for p in given:
            kind = "" if p.is_flag else f" {p.metavar or wants(p)}"
            default = p.default if isinstance(p.default, (int, float, str)) and not isinstance(p.default, bool) and p.default != "" else ""
            names = " / ".join(code(n) for n in (*p.opts, *p.secondary_opts))
            rows.append((names + kind, p.help or "", "needed" if p.required else code(default)))
        if rows:
            text += table(("argument or option", "what it is", "if not given"), rows)
    return text


def wants(option: Any) -> str:
    "What an option is followed by."
    name = getattr(option.type_descriptor.annotation, "__name__", "text")
    return dict(str="TEXT", int="NUMBER", float="NUMBER", Path="PATH").get(name, "VALUE")
