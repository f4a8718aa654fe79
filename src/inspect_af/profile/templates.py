"""What to call prompt templates that stand side by side in one profile."""

from __future__ import annotations

from inspect_af.profile.result import Profile


def template_names(profile: Profile) -> dict[str, str]:
    """A name for each prompt template by its digest: the choices in which it differs from the others.

    `setting=documents` is called `documents`, other choices by key and value. Templates whose choices are the
    same, such as those of an edited scenario, are called by the start of their digest.
    """
    known = profile.prompt_settings
    digests = list(dict.fromkeys([*(row.setting for row in profile.conditions), *known]))
    keys = dict.fromkeys(["setting", *(key for settings in known.values() for key in settings)])
    differing = [key for key in keys if len({known.get(digest, {}).get(key) for digest in digests}) > 1]
    names = {digest: _name(known.get(digest, {}), differing) for digest in digests}
    shared = list(names.values())
    return {
        digest: name if name and shared.count(name) == 1 else ", ".join(filter(None, (name, digest[:8])))
        for digest, name in names.items()
    }


def _name(settings: dict[str, str], differing: list[str]) -> str:
    return ", ".join(
        settings[key] if key == "setting" else f"{key}={settings[key]}"
        for key in differing
        if key in settings
    )
