"""The only real body of `init.pid1.system`: ctypes, ioctls, netlink. One small file per protocol."""
