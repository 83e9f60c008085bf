"""The updater: a process of its own, which PID 1 starts and never imports."""
