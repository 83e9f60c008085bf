"""The door to block devices for programs that write whole slots: the updater and the installer."""
