#!/bin/sh
# Installs every package of /debs with dpkg and all scripts, in a root with the least that dpkg runs from (`begin.sh`).
set -e
export PATH=/usr/sbin:/usr/bin DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C
umask 022
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/lib/dpkg/alternatives
: > /var/lib/dpkg/status
: > /var/lib/dpkg/available
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d # no service is started
chmod 755 /usr/sbin/policy-rc.d
options="--force-depends --force-unsafe-io"
dpkg $options --install /debs/base-passwd.deb
dpkg $options --install /debs/base-files.deb
dpkg $options --unpack /debs/*.deb
dpkg $options --configure --pending
