"""How many tokens a model takes. The only file that reads ``windows.yaml``."""

from pathlib import Path

import yaml

from asteros.errors import ConfigError

PACKAGED = Path(__file__).with_name("windows.yaml")


class Windows:
    """Immutable context windows by model name; a name ending in ``*`` stands for all that begin so."""

    def __init__(self, path: Path = PACKAGED) -> None:
        """:raises ConfigError: the file is missing or not of the form described in ``windows.yaml``."""
        rows = _read(path)
        self._exact = {name: tokens for name, tokens in rows.items() if not name.endswith("*")}
        prefixes = [(name[:-1], tokens) for name, tokens in rows.items() if name.endswith("*")]
        self._prefixes = sorted(prefixes, key=lambda row: len(row[0]), reverse=True)

    def tokens(self, model: str) -> int | None:
        """Tokens of input and output together; None when it is not known."""
        exact = self._exact.get(model)
        if exact is not None:
            return exact
        return next((tokens for prefix, tokens in self._prefixes if model.startswith(prefix)), None)


def _read(path: Path) -> dict[str, int]:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"window table {path} cannot be read or is not YAML") from None
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, dict):
        raise ConfigError(f"window table {path}: 'models' must map model names to tokens")
    for name, tokens in models.items():
        if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens <= 0:
            raise ConfigError(f"window table {path}: {name} must be a number of tokens above 0")
    return {str(name): tokens for name, tokens in models.items()}
