"""A process of its own that follows the configuration: it tells each one it sees, as a line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")


def main(key: str) -> None:
    django.setup()
    from django.utils import timezone

    from llmhub.access.principals import KeyRefusedError, admit
    from tests.live_configuration import LiveConfiguration

    registry = LiveConfiguration()
    told = None
    while True:
        snapshot = registry.snapshot()
        if snapshot != told:
            told = snapshot
            refusal = ""
            try:
                admit([key], snapshot.keys, now=timezone.now())
            except KeyRefusedError as refused:
                refusal = refused.message
            print(json.dumps({"providers": sorted(snapshot.providers), "refusal": refusal}), flush=True)
        time.sleep(0.005)


if __name__ == "__main__":
    main(sys.argv[1])
