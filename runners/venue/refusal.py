"How the venue says no: Binance's code and text."


class Refusal(Exception):
    "A request answered with an error body; `status` is HTTP's."

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.status = code, text, status

    @property
    def body(self) -> dict: return {"code": self.code, "msg": self.text}


def mandatory(params: dict, name: str) -> str:
    "A parameter that must be there."
    if not params.get(name): raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return params[name]


def number(params: dict, name: str, default: float | None = None) -> float:
    "A decimal parameter."
    written = params.get(name)
    if written is None or written == "":
        if default is None: mandatory(params, name)
        return default or 0.0
    try: value = float(written)
    except ValueError:
        raise Refusal(-1100,
                      f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.") from None
    if value != value or value in (float("inf"), float("-inf")): raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.")
    return value


def whole(params: dict, name: str, default: int | None = None) -> int | None:
    "A whole-number parameter, None when neither sent nor given a default."
    written = params.get(name)
    if written is None or written == "": return default
    try: return int(written)
    except ValueError: raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.") from None


def flag(params: dict, name: str) -> bool:
    "A true or false parameter; absent is false."
    return params.get(name, "").lower() == "true"
