"""What the exit status of one of Berth's own programs tells PID 1. It imports nothing: these programs start often."""

NOT_YET = 75
"""sysexits.h, EX_TEMPFAIL: what a health probe asks after does not run yet."""
