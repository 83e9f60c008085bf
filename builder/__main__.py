"""Where `berth` begins. From the first line on Ctrl-C is a sentence and a status, also while the rest is being read."""

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        from builder.cli.main import main as berth  # noqa: PLC0415 - reading it takes most of the start

        status = berth()
        _deaf()
    except KeyboardInterrupt:
        _deaf()
        if sys.stderr is not None:
            sys.stderr.write("\nberth: stopped; nothing is half-written\n")
        return 130
    return status


def _deaf() -> None:
    """Hear no further Ctrl-C: all is said, and the interpreter's own end would answer it with a traceback."""
    import signal  # noqa: PLC0415 - the same

    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
