"""``efface methods``: lists the methods and their settings."""

import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console

from efface.cli.options import AsJson


def methods(as_json: AsJson = False) -> int:
    """Lists the methods, what each needs, and its settings."""
    from efface.methods import PRESETS, method_names, method_preset
    from efface.settings import describe
    from efface.synthesis import preset_synthesizer

    listed: list[dict[str, Any]] = []
    for name in method_names():
        default = method_preset(name, "default")
        needs = default.needs
        presets = PRESETS.get(name, {"default": default})
        listed.append(
            {
                "name": name,
                "summary": default.summary,
                "needs": asdict(needs),
                "presets": {preset: describe(method) for preset, method in presets.items()},
                "synthesis": {
                    preset: describe(preset_synthesizer(preset)) if method.needs.forget_images else []
                    for preset, method in presets.items()
                },
            }
        )
    if as_json:
        sys.stdout.write(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")
    else:
        from efface.console import method_tables

        out = Console()
        for method in listed:
            out.print(*method_tables(method))
    return 0
