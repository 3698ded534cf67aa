# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# What the scripts of tests/ share. Source it; it sets $root (the checkout) and $cache (all that a checkout may lose).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
mkdir -p "$cache"
PATH=$PATH:/usr/sbin:/sbin # runc, for users other than root

say() { printf '   %s\n' "$*"; }

die() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
}

# step TITLE COMMAND [ARG ...]: a heading, the command, and how long it took
step() {
    local title=$1 start=$SECONDS status=0
    shift
    printf '\n== %s\n' "$title"
    # not `"$@" || die`: that would switch off errexit within a function
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    [ "$status" = 0 ] || die "$title (after $((SECONDS - start)) s)"
    printf '== %s: done in %d s\n' "$title" "$((SECONDS - start))"
}

# quietly LOG COMMAND [ARG ...]: the output goes to .cache/LOG; its end is shown if the command fails
quietly() {
    local log=$cache/$1
    shift
    "$@" > "$log" 2>&1 || {
        tail -n 40 "$log" >&2
        echo "FAILED: $* (the whole output: $log)" >&2
        return 1
    }
}

# need COMMAND PACKAGE [PACKAGE ...]: installs Debian's packages where the command is missing
need() {
    local command=$1 as_root=()
    shift
    command -v "$command" > /dev/null && return
    command -v apt-get > /dev/null || die "$command is missing, and without apt-get only you can install it (in Debian: $*)"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo > /dev/null || die "$command is missing: as root, apt-get install $*"
        as_root=(sudo)
    fi
    say "installing $* ($command is missing)"
    "${as_root[@]}" apt-get -qq update || say 'apt-get update failed in part; going on with what is there'
    quietly apt.log "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o DPkg::Lock::Timeout=300 install "$@" || die "$* can't be installed"
}

# remove CONTAINER: one that has not finished booting needs a second time
remove() {
    for _ in 1 2; do
        podman container exists "$1" || return 0
        podman rm --force --time 0 "$1" > /dev/null || true
    done
    ! podman container exists "$1" || die "podman does not remove $1: see podman ps --all"
}

# booted CONTAINER: waits until its systemd is up
booted() {
    local state
    for _ in {1..60}; do
        state=$(podman exec "$1" systemctl is-system-running 2> /dev/null) || true
        case $state in running | degraded) return ;; esac
        sleep 0.5
    done
    podman logs --tail 20 "$1" >&2
    die "systemd in $1 is still '$state' after 30 s"
}

# play LOG COMMAND [ARG ...]: an ansible-playbook; shows the name of each task and the seconds until it began, the rest is added to the log
play() {
    local log=$1 start=$SECONDS line
    shift
    "$@" 2>&1 | tee -a "$log" |
        while IFS= read -r line; do
            case $line in
                'TASK ['*) line=${line#TASK [} && printf '   %3d s  %s\n' $((SECONDS - start)) "${line%%] \**}" ;;
            esac
        done || {
        sed -n '/^fatal: \|^failed: \|^ERROR\|^\[ERROR\]/,$p' "$log" >&2
        die "the playbook failed (all of its output: $log)"
    }
}
