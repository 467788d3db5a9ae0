"""A run made public: the model, the record that speaks of it, and a card that explains both.

``bundle`` finds and checks what is published, ``card`` writes, ``overrides`` finds the command that
measures the same again, ``hub`` uploads. Whatever a record says is text here: it is never a path,
a command or markup before it is looked at.
"""

from __future__ import annotations

from bench.push.bundle import Bundle, PushError, bundled, written
from bench.push.hub import Target, Uploaded, uploaded

__all__ = ["Bundle", "PushError", "Target", "Uploaded", "bundled", "uploaded", "written"]
