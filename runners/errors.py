"Errors that a person can mend: the command line shows their one sentence and exits with 2."


class ConfigError(Exception):
    "A wrong setting, file or environment; the message is one sentence that names the remedy."
