"""Adapters: the only package that touches the outside."""
