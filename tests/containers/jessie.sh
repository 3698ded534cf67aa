# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # $debian, $installed and the like are image's
#
# What the image of jessie, Debian 8, has of its own. Sourced by tests/containers/image, and in the stand-in to set it up.

# jessie: settings of image for Debian 8 or, where that is out of reach, for a Debian 11 that stands in for it
jessie() {
    local release=${DEBIAN8_SUITE:-jessie} mirror=${DEBIAN8_MIRROR-}
    # Everything is installed: on the stand-in Ansible can't, for want of an apt module of Python 2.7.
    later=()
    installed=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,procps,ca-certificates,curl,nginx,logrotate,lsb-base,ruby-rack
    need mmdebstrap mmdebstrap
    # the mirror that this machine takes its own packages from
    # shellcheck disable=SC2016
    [ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2> /dev/null | head -n 1)
    if [ -n "$mirror" ] && quietly jessie.log /usr/lib/apt/apt-helper -o Acquire::http::Timeout=5 -o Acquire::Retries=0 download-file \
        "${mirror%/}/dists/$release/Release" "$cache/jessie.Release" 2> /dev/null; then
        # The keys that it is signed with have expired.
        debian=("$release" "deb [trusted=yes] $mirror $release main")
        installed+=,python,python-apt,uwsgi,uwsgi-plugin-python,uwsgi-plugin-rack-ruby2.1
        return
    fi
    say "$release is out of reach: Debian 11 stands in for Debian 8"
    debian=(bullseye)
    installed+=,python2.7-dev,ruby-dev,gcc,libc6-dev,libcap-dev,libpcre3-dev,libyaml-dev,uuid-dev,zlib1g-dev
    options+=(--customize-hook="upload $cache/uwsgi-2.0.7.tar.gz /tmp/uwsgi.tar.gz"
        --customize-hook="upload $root/tests/containers/jessie.sh /tmp/jessie.sh"
        --customize-hook="chroot \"\$1\" bash -ec '. /tmp/jessie.sh; stand_in /tmp/uwsgi.tar.gz'")
    if [ ! -f "$cache/uwsgi-2.0.7.tar.gz" ]; then
        "$root/tests/setup" venv-2.16
        quietly jessie.log "$cache/venv-2.16/bin/pip" download -q --no-deps --no-binary :all: -d "$cache" uwsgi==2.0.7
    fi
}

# stand_in SDIST: gives a Debian 11 Debian 8's uWSGI 2.0.7, with plugins for Python 2.7 and Rack, and what Debian 8's package
# uwsgi brings: init script, defaults, directories
stand_in() {
    local work
    work=$(mktemp -d)
    cd "$work" || exit
    tar -xzf "$1" --strip-components 1
    # It reads the compiler's version as MAJOR.MINOR.
    # shellcheck disable=SC2016
    printf '#!/bin/sh\n[ "$1" = -dumpversion ] && { echo 4.9.2; exit; }\nexec gcc "$@"\n' > cc-4.9
    chmod +x cc-4.9
    # libxcrypt's crypt_data has another member for this.
    sed -i 's/cd.current_salt.0. = .*/cd.initialized = 0;/' plugins/router_basicauth/router_basicauth.c
    # As in Debian, no language is built in.
    sed -i 's/%(main_plugin)s, //' buildconf/base.ini
    # It knows OpenSSL 1.0 only.
    export UWSGI_PROFILE_OVERRIDE='ssl=false;xml=false;plugin_dir=/usr/lib/uwsgi/plugins'
    export CC="$work/cc-4.9" CFLAGS='-Wno-error -fcommon -w'
    mkdir -p /usr/lib/uwsgi/plugins
    python2.7 uwsgiconfig.py --build base
    python2.7 uwsgiconfig.py --plugin plugins/python base
    python2.7 uwsgiconfig.py --plugin plugins/rack base rack_ruby21
    install -m 0755 uwsgi /usr/bin/uwsgi-core
    ln -s uwsgi-core /usr/bin/uwsgi
    ln -s rack_ruby21_plugin.so /usr/lib/uwsgi/plugins/rack_plugin.so

    # Debian 11's package without what it depends on; Debian 8's defaults differ.
    apt-get -qq download uwsgi
    dpkg-deb --extract uwsgi_*.deb /
    sed -i -e '/^declare-option/d; /^chown-socket/d' -e 's/^\[uwsgi\]$/&\nautoload = true/' /usr/share/uwsgi/conf/default.ini
    mkdir -p /var/log/uwsgi/app
    update-rc.d uwsgi defaults
    rm -r "$work"
}
