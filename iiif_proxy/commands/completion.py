"""`iiif-proxy completion`: what a shell needs to complete our commands."""

import argparse
import sys
from importlib import resources

HELP = "print the completion script of a shell"
EXAMPLES = """\
  iiif-proxy completion bash > ~/.local/share/bash-completion/completions/iiif-proxy
  iiif-proxy completion zsh > ~/.zfunc/_iiif-proxy       # a folder of $fpath
"""
SHELLS = ("bash", "zsh")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def run(given: argparse.Namespace) -> int:
    file = resources.files("iiif_proxy.commands") / "completions" / given.shell
    sys.stdout.write(file.read_text("utf-8"))
    return 0
