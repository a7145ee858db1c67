"""The command `iiif-proxy`."""

import argparse
import importlib
import sys

from iiif_proxy import __version__
from iiif_proxy.commands.options import Mistake
from iiif_proxy.settings import SettingsError

COMMANDS = (
    "serve", "check", "info", "explain", "warm", "purge", "export", "sign", "stats", "completion",
)  # fmt: skip
EXIT_CODES = """\
exit codes: 0 done and all is well, 1 done and something is not well (it is said what),
            2 a mistake in the arguments or settings, 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """Every command with its arguments; nothing heavy is imported."""
    whole = argparse.ArgumentParser(
        prog="iiif-proxy",
        description="IIIF in front of the image origin you already have.",
        epilog="Settings come from the environment (IIIF_PROXY_…); `iiif-proxy check` shows them."
        f"\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=__version__)
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"iiif_proxy.commands.{name}")
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=f"examples:\n{module.EXAMPLES}\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(command)
        command.set_defaults(run=module.run)
    return whole


def main(arguments: list[str] | None = None) -> int:
    """The exit code, as EXIT_CODES says."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = parser().parse_args(arguments)
    try:
        code: int = given.run(given)
        return code
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except Mistake as mistake:
        print(mistake, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
