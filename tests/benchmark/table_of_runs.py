# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the table of runs, in Markdown, from what tests/benchmark/runs has measured: table_of_runs.py RECORDS."""

import json
import os
import sys
import time

NAMES = {'ssh': 'ssh with pipelining', 'containers.podman.podman': 'podman'}


def main(path):
    with open(path, encoding='utf-8') as lines:
        records = [json.loads(line) for line in lines]
    by_key = dict(((one['connection'], one['count'], one['run'], one['way']), one) for one in records)
    print('# Runs, %s\n' % time.strftime('%Y-%m-%d %H:%M', time.localtime(os.path.getmtime(path))))
    print(
        'The role beside a plain playbook of Ansible\'s own modules that does the same job (`tests/benchmark/plain.yml`): the unit, three\n'
        'configuration files, tmpfiles, logrotate, a file and a link for each application in loops, the upstreams of nginx, and a wait for each\n'
        'socket. Each pair of runs has a new container in which all packages are installed. The seconds are of the whole `ansible-playbook`.\n'
    )
    print('| connection | applications | run | modules: role | modules: plain | seconds: role | seconds: plain | ratio |')
    print('| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |')
    for connection, count, run, way in by_key:
        if way == 'role':
            role, plain = (by_key[connection, count, run, one] for one in ('role', 'plain'))
            cells = [NAMES[connection], count, run, role['executions'], plain['executions']]
            cells += ['%.1f' % role['seconds'], '%.1f' % plain['seconds'], '%.2f' % (role['seconds'] / plain['seconds'])]
            print('| %s |' % ' | '.join(str(cell) for cell in cells))


if __name__ == '__main__':
    main(sys.argv[1])
