"""Bodies as providers send and take them, written from the documented formats."""

import json
from pathlib import Path
from typing import Any


def sample(provider_type: str, name: str) -> Any:
    return json.loads((Path(__file__).parent / provider_type / f"{name}.json").read_text())
