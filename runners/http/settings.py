"How the HTTP server is reached, and by whom."

from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from runners.errors import ConfigError


class HttpSettings(BaseModel):
    "Where to listen, and the key that a reader must show; the key comes from the environment only (PERPS_HTTP__API_KEY)."

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free port
    api_key: SecretStr | None = None

    def key(self) -> str:
        "The key, or nothing when the answers are open to whoever can connect."
        return self.api_key.get_secret_value() if self.api_key else ""


def is_loopback(host: str) -> bool:
    "Whether only this machine can reach `host`."
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: HttpSettings) -> None:
    "Refuse to show positions to the whole network without a key."
    if settings.key() and len(settings.key()) < 16:
        raise ConfigError("the API key is too short to keep anyone out: set PERPS_HTTP__API_KEY to at least 16 characters")
    if not is_loopback(settings.host) and not settings.key():
        raise ConfigError(
            f"listening on {settings.host} shows this service to the network: set PERPS_HTTP__API_KEY, or listen on 127.0.0.1"
        )
