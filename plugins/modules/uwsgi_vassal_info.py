#!/usr/bin/python
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r'''
---
module: uwsgi_vassal_info
short_description: Tell what the uWSGI Emperor and its applications are doing
version_added: 0.1.0
author:
  - uwsgi.emperor contributors (@uwsgi-emperor)
description:
  - Reads the state of the Emperor and of its applications (vassals) from systemd, the Emperor's stats socket where there is one, and C(/proc).
  - It changes nothing, and executes nothing that a configuration says. What uWSGI would execute while it is asked for the options of an
    application is left out, with a warning. Of a file in another format than INI that has such a thing, uWSGI is not asked, and
    what only its configuration tells is V(none).
extends_documentation_fragment:
  - uwsgi.emperor.layout
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    support: none
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    support: full
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  platform:
    support: full
    platforms: debian
    description: Target OS families that can be operated against.
options:
  name:
    description:
      - The applications to tell of, by name or by pattern.
      - Without it, all that have a file or a link. One with two files of different endings, or with one that can not be read, is
        left out with a warning; asked for by name it is an error.
    type: list
    elements: str
    aliases: [vassal]
seealso:
  - module: uwsgi.emperor.uwsgi_vassal
'''

EXAMPLES = r'''
- name: Gather the state of all applications
  uwsgi.emperor.uwsgi_vassal_info:
  register: uwsgi

- name: List the applications that should accept requests and do not
  ansible.builtin.debug:
    msg: "{{ uwsgi.vassals | selectattr('enabled') | rejectattr('accepting') | map(attribute='name') }}"
'''

RETURN = r'''
emperor:
  description: The Emperor.
  returned: always
  type: dict
  contains:
    unit:
      description: The systemd unit.
      type: str
      returned: always
      sample: uwsgi.service
    pid:
      description: The PID of the process that watches the directory of links, V(none) when none does.
      type: int
      returned: always
    version:
      description: Its version, V(none) when it does not run.
      type: str
      returned: always
      sample: 2.0.28-debian
    running:
      description: Whether it runs.
      type: bool
      returned: always
    reason:
      description: Why it does not run, and the remedy.
      type: str
      returned: when it does not run
vassals:
  description: The applications, by name.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The application's name.
      type: str
      returned: always
    enabled:
      description: Whether its link is there and leads to a file.
      type: bool
      returned: always
    running:
      description: Whether the Emperor has a process for it.
      type: bool
      returned: always
    accepting:
      description: Whether it accepts requests.
      type: bool
      returned: always
    pid:
      description: The PID of its master process, V(none) when none runs.
      type: int
      returned: always
    uid:
      description: The user ID of its master process, V(none) when none runs.
      type: int
      returned: always
    workers:
      description: The number of processes under its master.
      type: int
      returned: always
    requests:
      description: The requests that its present workers have answered, from its own stats socket; V(none) where it has none.
      type: int
      returned: always
    rss:
      description: The resident memory of its processes, in bytes. Memory that they share counts in each.
      type: int
      returned: always
    started:
      description: The time its master process was started, in ISO 8601 with the zone UTC; V(none) when none runs.
      type: str
      returned: always
      sample: '2026-01-31T12:00:00Z'
    stale:
      description: Whether its file or the defaults are newer than what runs, V(none) when none runs.
      type: bool
      returned: always
    failures:
      description: How often it has died before its first request since the Emperor put it on its blacklist; V(none) without the Emperor's stats socket.
      type: int
      returned: always
    config:
      description: The path of its file; of the one it is linked to, where that is another than the available one.
      type: str
      returned: always
      sample: /etc/uwsgi/apps-available/redmine.ini
    socket:
      description: The socket that its configuration names, V(none) where it can not be told.
      type: str
      returned: always
      sample: /run/uwsgi/redmine.socket
'''

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._layout import find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import read_stats
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text, visible_result, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, expand


# uWSGI counts a worker's requests in 64 bits.
MANY = 1 << 64


def count_requests(stats):
    """The requests of all workers, None where the document has no such numbers: it is the application's own."""
    workers = stats.get('workers')
    counts = [worker.get('requests') for worker in workers if isinstance(worker, dict)] if isinstance(workers, list) else []
    return sum(counts) if counts and all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MANY for count in counts) else None


def describe(host, situation, view):
    """One entry of `vassals`."""
    filename = situation.filename
    entry = dict(name=to_native(situation.name), config=to_native(situation.path))
    entry.update(situation.brief())
    processes = [situation.pid] + sorted(situation.workers) if situation.pid else []
    options = host.options(filename) if situation.text is not None else {}
    entry.update(
        uid=_processes.owner(situation.pid) if situation.pid else None,
        workers=len(situation.workers),
        requests=None,
        rss=sum(_processes.resident(pid) for pid in processes),
        started=None,
        stale=host.is_stale(situation) if situation.pid else None,
        failures=host.failures(filename, view),
        socket=options.get('socket'),
    )
    address = options.get('stats') or options.get('stats-server')
    stats = read_stats(address, situation.pid) if address and situation.pid else None
    if stats:
        entry['requests'] = count_requests(stats)
    age = _processes.age(situation.pid) if situation.pid else None
    if age is not None:
        entry['started'] = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - age))
    return entry


def run(module):
    params = module.params
    if os.geteuid() != 0:
        raise VassalError("Root is needed to see the Emperor's vassals (become: true).")
    host = find_host(module.run_command, params)
    if host.open_directory():
        module.warn(host.open_directory())
    emperor = dict(unit=host.unit, pid=host.emperor, version=None, running=host.emperor is not None)
    if host.emperor:
        emperor['version'] = host.version()
    else:
        emperor['reason'] = host.why_down
    known = host.known()
    names = sorted(known) if params['name'] is None else expand([to_text(name) for name in params['name']], known)
    view = host.look(wake=False)

    def leave_out(error):
        module.warn(visible_text(to_native(error)))

    # of all there are, one odd file is not to hide the others
    situations = host.situations(names, view, leave_out if params['name'] is None else None)
    host.read([(situation.filename, None) for situation in situations if situation.text is not None])
    for sentence in host.left_out_of_settings:
        module.warn(sentence + '.')
    for situation in situations:
        for sentence in host.left_out(situation.filename):
            module.warn('%s: %s.' % (to_native(situation.name), sentence))
    return dict(emperor=emperor, vassals=[describe(host, situation, view) for situation in situations])


def main():
    spec = dict(name=dict(type='list', elements='str', aliases=['vassal']))
    spec.update(layout_spec())
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **visible_result(run(module)))
    except VassalError as error:
        module.fail_json(msg=visible_text(to_native(error)))


if __name__ == '__main__':
    main()
