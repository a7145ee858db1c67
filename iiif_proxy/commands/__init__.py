"""The commands: a module each, with `arguments(parser)`, and `run(given)`, which is the exit code.

Modules import the proxy only when they run: `--help` is at once, and `serve` has something to
arrange before.
"""
