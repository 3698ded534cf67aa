# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash disable=SC2154
#
# Each ansible-core with each Python that it supports on a target: the unit tests, and states.yml in containers; states.yml also
# with PyPI's newest uWSGI. Writes .cache/matrix.md. Sourced by `tests/run matrix`, whose functions and virtual environments it uses.

# target_pythons CORE: by ansible-core's support matrix
target_pythons() {
    case $1 in
        2.16.*) echo 2.7 3.{6..12} ;;
        2.19.*) echo 3.{8..13} ;;
        *) echo 3.{9..14} ;;
    esac
}

# Debian's own Pythons. Others are this machine's, mounted into a container of Debian 12.
declare -gA debian=([2.7]=bullseye [3.9]=bullseye [3.11]=bookworm [3.13]=trixie)
declare -gA release=([bullseye]='Debian 11' [bookworm]='Debian 12' [trixie]='Debian 13' [newest]='Debian 13')

# find_targets VERSION ...: fills container_of and python_of, what container has this Python and where, and volumes
find_targets() {
    local version python prefix
    for version; do
        python=$cache/python/python$version
        if [ -n "${debian[$version]-}" ]; then
            container_of[$version]=${debian[$version]}
            python_of[$version]=/usr/bin/python$version
        elif [ -e "$python" ] && prefix=$("$python" -c 'import sys; print(sys.prefix)') && [ "$prefix" != /usr ]; then
            container_of[$version]=bookworm
            python_of[$version]=$(readlink -f "$python")
            volumes+=(--volume "$prefix:$prefix:ro")
        fi
    done
}

# container NAME [SUITE]: a fresh one, for Debian 12 with the volumes
container() {
    local name=uwsgi-emperor-matrix-$1 suite=${2-$1} mounted=()
    [ "$suite" != bookworm ] || mounted=("${volumes[@]}")
    remove "$name"
    podman run -d --systemd=always --name "$name" --hostname "$1" "${mounted[@]}" \
        --volume "$cache/ssh/id.pub:/home/admin/.ssh/authorized_keys:ro" "localhost/uwsgi-emperor-$suite" > /dev/null
    booted "$name"
}

# inventory CONTAINER ...: of these, and of the targets in container_of and python_of
inventory() {
    local name version
    echo '[containers]'
    for name; do
        echo "uwsgi-emperor-matrix-$name ansible_python_interpreter=/usr/bin/python3"
    done
    echo '[targets]'
    for version in "${!container_of[@]}"; do
        echo "python$version ansible_host=uwsgi-emperor-matrix-${container_of[$version]} ansible_python_interpreter=${python_of[$version]}"
    done
    cat << END
[all:vars]
ansible_user=admin
ansible_ssh_private_key_file=$cache/ssh/id
ansible_ssh_common_args=-o ProxyCommand="podman exec -i %h /usr/sbin/sshd -i" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
END
}

# passed HOST: whether a host got through the playbook, by its recap
passed() { grep -qE "^$1 +: ok=[1-9].* unreachable=0 +failed=0 " "$log"; }

# states VERSION: what the table says of the module's states on a target
states() {
    local name=${container_of[$1]-}
    if [ -z "$name" ]; then
        echo -
    elif passed "uwsgi-emperor-matrix-$name" && passed "python$1"; then
        echo "passed, ${release[$name]}"
    else
        echo '**failed**'
    fi
}

# unit_cell COMMAND ...: what the table says of the unit tests
unit_cell() {
    local status
    set +e
    (
        set -e
        "$@"
    ) > "$cache/matrix-unit.log" 2>&1
    status=$?
    set -e
    cat "$cache/matrix-unit.log" >&2
    if [ "$status" = 0 ]; then
        grep -oE '^[0-9]+ passed' "$cache/matrix-unit.log"
    else
        echo '**failed**'
    fi
}

# rows VENV: the table's rows for its ansible-core
rows() (
    local venv=$1 core python suites volumes=() version unit log=$cache/matrix-$1.log
    local -A container_of=() python_of=()
    environment "$venv"
    core=$(core "$venv")
    python=$(python -c 'import platform; print(platform.python_version())')
    say "ansible-core $core under Python $python: containers, the role, the module's states"
    # shellcheck disable=SC2046
    find_targets $(target_pythons "$core")
    mapfile -t suites < <(printf '%s\n' "${container_of[@]}" | sort -u)
    for suite in "${suites[@]}"; do
        container "$suite"
    done
    for version in "${!container_of[@]}"; do
        if [ -z "${debian[$version]-}" ] && ! podman exec uwsgi-emperor-matrix-bookworm "${python_of[$version]}" -c '' 2> /dev/null; then
            say "Python $version of this machine does not start in a container of Debian 12, so it is not tried there"
            unset "container_of[$version]"
        fi
    done
    inventory "${suites[@]}" > "$cache/matrix.ini"
    : > "$log"
    # a host that fails is a cell of the table
    (play "$log" ansible-playbook -i "$cache/matrix.ini" tests/matrix/states.yml) || true
    say "ansible-core $core under Python $python: unit tests"
    for version in $(target_pythons "$core"); do
        if [ "$version" = "${python%.*}" ]; then
            unit=$(unit_cell unit_controller "$venv")
        elif [ -e "$cache/python/python$version" ]; then
            unit=$(unit_cell unit_target "$venv" "$version")
        else
            unit=-
        fi
        echo "| $core | $python | $version | $unit | $(states "$version") |" >> "$table"
    done
)

# newest_uwsgi VENV: the table's last line, on PyPI's newest uWSGI
newest_uwsgi() (
    local sdist version name=uwsgi-emperor-matrix-newest log=$cache/matrix-uwsgi.log volumes=()
    local -A container_of=([3.13]=newest) python_of=([3.13]=/usr/bin/python3)
    environment "$1"
    rm -rf "$cache/newest-uwsgi"
    quietly matrix-uwsgi.log pip download -q --no-deps --no-binary :all: -d "$cache/newest-uwsgi" uwsgi
    sdist=$(echo "$cache"/newest-uwsgi/*.tar.gz)
    version=${sdist##*-}
    version=${version%.tar.gz}
    say "uWSGI $version: a container, the role, the module's states"
    container newest trixie
    podman cp tests/matrix/build-uwsgi "$name:/tmp/build-uwsgi"
    quietly matrix-uwsgi.log podman exec -i "$name" /tmp/build-uwsgi < "$sdist"
    inventory newest > "$cache/matrix.ini"
    : > "$log"
    (play "$log" ansible-playbook -i "$cache/matrix.ini" tests/matrix/states.yml) || true
    [ "$(podman exec "$name" uwsgi-core --version)" = "$version" ] || die "the container's uWSGI is not $version"
    printf "\nPyPI's newest uWSGI, %s, with ansible-core %s and Python 3.13 on the target: %s.\n" "$version" "$(core "$1")" "$(states 3.13)" >> "$table"
)

remove_all() {
    local name
    for name in "${!release[@]}"; do
        remove "uwsgi-emperor-matrix-$name"
    done
}

table=$cache/matrix.new
printf '%s\n' '| ansible-core | its Python | target Python | unit tests | in a container |' '| --- | --- | --- | --- | --- |' > "$table"
rm -f "$cache/matrix.md"
trap remove_all EXIT
for venv in venv-2.16 venv-2.19 venv; do
    if [ ! -d "$cache/$venv" ]; then
        say "no Python here runs ansible-core ${venv#venv-}: passed over"
    elif [[ $venv = venv && $(core venv) = 2.1[69].* ]]; then
        say 'no Python here runs an ansible-core newer than 2.19: passed over'
    else
        rows "$venv"
    fi
done
[ ! -d "$cache/venv" ] || newest_uwsgi venv
mv "$table" "$cache/matrix.md"
printf '\n'
cat "$cache/matrix.md"
say 'This table is .cache/matrix.md; - says that no such Python is at hand.'
! grep -qF '**failed**' "$cache/matrix.md" || die 'what failed is told above and in .cache/matrix-*.log'
