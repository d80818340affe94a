"Where messages go when there is no bot token: the terminal."

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from perps_kit.telegram.render import Message

CHANNEL = RECIPIENT = "console"


class ConsoleSender:
    "Prints messages as a chat would show them; the row's own number stands for the message's."

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    async def send(self, chat: str, message: Message, random_id: int) -> int | None:
        "Print it."
        self.console.print(Panel(Text(message.text), expand=False, border_style="dim"))
        return None
