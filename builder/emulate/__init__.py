"""Run an image in QEMU: what `berth run`, the tests and the bench stand on."""

from builder.emulate.options import Forward, Options, Until, parse_forward, parse_until
from builder.emulate.run import run
from builder.errors import GuestFailed

__all__ = ["Forward", "GuestFailed", "Options", "Until", "parse_forward", "parse_until", "run"]
