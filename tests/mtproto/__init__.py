"A Telegram that listens on loopback: enough of MTProto to run the unmodified Telethon client against it."
