"""Whether a model can be asked for at all, found out before anything is planned around it."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import get_model
from inspect_ai.util import registry_create

from inspect_af.errors import ConfigError, InspectAFError


def check_model(model: str, model_args: dict[str, Any]) -> None:
    """Refuses a name without provider, an unknown provider, and what our own providers refuse.

    Other providers are not constructed: they may want a key, load weights or start a server. So their
    arguments are not checked here.

    Raises:
        ConfigError: The model cannot be asked for.
    """
    provider, slash, name = model.partition("/")
    if not (slash and provider and name):
        raise ConfigError(f"model {model!r}; a name has the form PROVIDER/MODEL, such as openai/gpt-4o")
    if provider.startswith("af-") or not _is_built_in(provider):
        try:
            get_model(model, memoize=False, **model_args)
        except InspectAFError:
            raise
        except Exception as error:  # providers raise what they like
            if provider.startswith("af-") or "not recognized" in str(error):
                raise ConfigError(f"model {model!r}: {error}") from error


def _is_built_in(provider: str) -> bool:
    """Whether Inspect has a provider of that name; one of another package has a longer name there."""
    try:
        registry_create("modelapi", provider)
    except LookupError:
        return False
    except Exception:  # noqa: BLE001 - it was found, and cannot be made without a model's name
        return True
    return True
