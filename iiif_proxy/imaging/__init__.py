"""Pixels: the only room that knows Pillow."""
