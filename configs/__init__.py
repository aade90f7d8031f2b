"""Shipped configurations; each first line says hardware, duration and expected result."""
