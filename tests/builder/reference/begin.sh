#!/bin/sh
# Gives dpkg the least that it runs from: /new begins empty, and Debian's own dpkg-deb and tar fill it. Runs in a root
# beside it, whose files are only programs: nothing of that root's modes, owners or additions gets into /new.
set -e
export PATH=/usr/sbin:/usr/bin LC_ALL=C
umask 022
for deb in base-files base-passwd dash bash coreutils debianutils diffutils dpkg tar grep sed gzip findutils mawk hostname perl-base \
    debconf init-system-helpers ncurses-bin libc6 libc-bin libgcc-s1 gcc-14-base libacl1 libattr1 libselinux1 \
    libpcre2-8-0 libmd0 libbz2-1.0 liblzma5 libzstd1 zlib1g libcrypt1 libtinfo6 libgmp10 libssl3t64 libcap2 libsystemd0 \
    fakeroot libfakeroot; do
    test ! -e /debs/$deb.deb || dpkg-deb --extract /debs/$deb.deb /new
done
