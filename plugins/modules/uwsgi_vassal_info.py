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
      description:
        - The number of its workers. Daemons, commands of cron, mules, spoolers and gateways are none.
        - A command of cron or a daemon counts for the instant between its master's fork and its own session.
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
      description:
        - Whether its file or the defaults are newer than what runs, V(none) when none runs.
        - V(none) also where nobody can tell, which is without workers after a reload that M(uwsgi.emperor.uwsgi_vassal) did not do.
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uwsgi.emperor.plugins.module_utils._describe import describe_all
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import find_host, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, visible_result, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError


def run(module):
    if os.geteuid() != 0:
        raise VassalError("Root is needed to see the Emperor's vassals (become: true).")
    return describe_all(find_host(module.run_command, module.params), module.warn, module.params['name'])


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
