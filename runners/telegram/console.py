"Where messages go when there is no bot token: the terminal."

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from perps_kit.telegram.render import Message

CHANNEL = RECIPIENT = "console"


class ConsoleSender:
    "Prints messages as a chat would show them, or `brief`ly: their first line."

    def __init__(self, console: Console | None = None, brief: bool = False) -> None:
        self.console, self.brief = console or Console(stderr=True), brief

    async def send(self, chat: str, message: Message, random_id: int) -> int | None:
        "Print it."
        if self.brief: self.console.print(Text(message.text.partition("\n")[0]))
        else: self.console.print(Panel(Text(message.text), expand=False, border_style="dim"))
        return None
