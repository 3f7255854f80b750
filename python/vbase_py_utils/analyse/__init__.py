"""Analyse the fits of many periods."""
