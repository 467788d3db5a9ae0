"""joulebench: joules saved and accuracy paid, measured in pairs."""

__version__ = "0.1.0"
