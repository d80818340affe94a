"The reference pages that are made of the code itself: units, command line, HTTP, settings."

from .cli import cli, commands
from .http import http
from .settings import fields, settings
from .units import units

PAGES = {"reference/cli.md": cli, "reference/http.md": http, "reference/settings.md": settings}  # the units ask which pages there are

__all__ = ["PAGES", "cli", "commands", "fields", "http", "settings", "units"]
