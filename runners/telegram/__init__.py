"Telegram: the bot that answers, the sender that empties the outbox, and the ports through which both see the rest of the house."
