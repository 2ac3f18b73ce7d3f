"""Nightrate: a self-hosted batch inference server that speaks the Gemini Batch API."""

__version__ = "0.1.0"
