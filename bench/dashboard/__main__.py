"""The command: ``python -m bench.dashboard results``. Exit status 2 for a wrong command line."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.dashboard.data.folder import Folder
from bench.dashboard.data.watching import Watcher
from bench.dashboard.gate import loopback
from bench.dashboard.take import Shelf

TOKEN = "JOULEBENCH_TOKEN"
"""Environment variable that holds the token: options can be read by all users of a host."""

LEAST_CHARACTERS = 16


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted, and return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.results.exists() and not options.results.is_dir():
        parser.error(f"{options.results} is a file: give the folder of the results")
    for folder in options.data:
        if not folder.is_dir():
            parser.error(f"--data {folder}: there is no such folder")
    token = _token(parser, options.host)
    try:
        from bench.dashboard.server import serve
    except ImportError as err:
        print(f"{err.name} is missing: pip install 'joulebench[dashboard]'", file=sys.stderr)
        return 1
    shelf = Shelf(Watcher(Folder.of(options.results)), tuple(map(Folder.of, options.data)))
    print(f"{options.results}: {_address(options.host, options.port, token)}", flush=True)
    serve(shelf, options.host, options.port, token)
    return 0


def _token(parser: argparse.ArgumentParser, host: str) -> str | None:
    """Return what is asked for at the gate: on the loopback only where somebody has set it."""
    given = os.environ.get(TOKEN)
    if given is not None and len(given) < LEAST_CHARACTERS:
        parser.error(
            f"{TOKEN} has {len(given)} characters: {LEAST_CHARACTERS} at least, or unset it"
        )
    if given is not None and not (given.isascii() and given.isalnum()):
        parser.error(f"{TOKEN}: only letters a to z and digits, since it stands in an address")
    if given is None and not loopback(host):
        return secrets.token_hex(32)
    return given


def _address(host: str, port: int, token: str | None) -> str:
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.dashboard",
        description="Show a folder of results in a browser, live: runs under way, pairs, "
        "comparisons, data, models, sensors. It reads only, and rests while windows are measured "
        "on this host.",
        epilog="Bound to another address than the loopback it asks for a token, which is printed "
        f"at the start or taken from the variable {TOKEN}. The connection is not encrypted: prefer "
        "ssh -L 8080:localhost:8080.",
    )
    parser.add_argument(
        "results", nargs="?", type=Path, default=Path("results"), help="folder of the results"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind to (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="port to bind to (8080)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="folder whose data files may be looked into; several times for several",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
