#!/usr/bin/python
# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r'''
---
module: uwsgi_host_info
short_description: Tell in one answer what the role uwsgi.emperor.emperor has to know of a host
version_added: 0.1.0
author:
  - uwsgi.emperor contributors (@uwsgi-emperor)
description:
  - Reads what is installed on a host, who runs uWSGI applications there, how these run, and how files are that the role P(uwsgi.emperor.emperor#role)
    would write.
  - It changes nothing. The role asks it once, and executes other modules only for what differs.
options:
  files:
    description:
      - The paths of files and directories to describe in the returned C(files).
    type: list
    elements: path
    default: []
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
seealso:
  - module: uwsgi.emperor.uwsgi_vassal_info
'''

EXAMPLES = r'''
- name: Look at the host
  uwsgi.emperor.uwsgi_host_info:
    files: [/etc/uwsgi/emperor.ini]
  register: host

- name: Show what runs by Debian's init script
  ansible.builtin.debug:
    var: host.daemons
'''

RETURN = r'''
debian:
  description: Whether it is Debian or made of Debian.
  returned: always
  type: bool
release:
  description: The distribution, as C(/etc/os-release) has it.
  returned: always
  type: dict
  contains:
    id:
      description: Its name.
      type: str
      returned: always
      sample: debian
    major:
      description: Its major version, 0 where it has none, as Debian's testing.
      type: int
      returned: always
      sample: 13
init:
  description: The name of process 1.
  returned: always
  type: str
  sample: systemd
python:
  description: The interpreter that Ansible uses on the host.
  returned: always
  type: dict
  contains:
    executable:
      description: Its path.
      type: str
      returned: always
    major:
      description: Its major version.
      type: int
      returned: always
systemd:
  description: The version of systemd, V(none) where the host was not booted by it. All of the following is returned only where it was.
  returned: always
  type: int
  sample: 257
uwsgi:
  description: The version of C(/usr/bin/uwsgi-core), V(none) without that.
  returned: under systemd
  type: str
  sample: 2.0.28-debian
logrotate:
  description: Whether C(/usr/sbin/logrotate) is there.
  returned: under systemd
  type: bool
plugins:
  description: The names of uWSGI's plugins in C(/usr/lib/uwsgi/plugins).
  returned: under systemd
  type: list
  elements: str
emperor:
  description: The unit C(uwsgi.service), whether it is the Emperor's or the init script's.
  returned: under systemd
  type: dict
  contains: &unit
    there:
      description: Whether systemd knows it.
      type: bool
      returned: always
    masked:
      description: Whether it is masked.
      type: bool
      returned: always
    path:
      description: Its file, empty where it has none.
      type: str
      returned: always
    active:
      description: Whether it is active.
      type: bool
      returned: always
    pid:
      description: The PID of its main process, V(none) without one.
      type: int
      returned: always
    enabled:
      description: Whether it is enabled.
      type: bool
      returned: always
    unread:
      description: Whether systemd has still to read its files (C(systemctl daemon-reload)).
      type: bool
      returned: always
    newer:
      description: Of the files that the Emperor has read when it started, those that are newer; of C(uwsgi.service) alone.
      type: list
      elements: str
      returned: for RV(emperor)
watcher:
  description: The unit C(uwsgi-vassals.service), which keeps vassals and units in step.
  returned: under systemd
  type: dict
  contains: *unit
debians_emperor:
  description: Whether C(uwsgi-emperor.service), of Debian's package C(uwsgi-emperor), is active.
  returned: under systemd
  type: bool
served:
  description: The active units C(uwsgi-app@NAME.service) and C(uwsgi-app@NAME.socket) of Debian's package C(uwsgi-core).
  returned: under systemd
  type: list
  elements: str
supervisor:
  description: Who V(auto) is for O(uwsgi.emperor.uwsgi_vassal#module:supervisor), V(emperor) or V(systemd).
  returned: under systemd
  type: str
daemons:
  description: The PIDs of the processes that the init script C(/etc/init.d/uwsgi) has started for applications.
  returned: under systemd
  type: list
  elements: int
upstreams:
  description: The names of the upstreams in nginx's configuration but for those of the role, V(none) without nginx.
  returned: under systemd
  type: list
  elements: str
available:
  description: The names of the applications that have a file in C(/etc/uwsgi/apps-available).
  returned: under systemd
  type: list
  elements: str
linked:
  description: The names of the applications that have a link, or a file, in C(/etc/uwsgi/apps-enabled).
  returned: under systemd
  type: list
  elements: str
vassals:
  description:
    - The applications, as RV(uwsgi.emperor.uwsgi_vassal_info#module:vassals) has them.
    - The list is empty while neither an Emperor nor systemd can run any.
  returned: under systemd
  type: list
  elements: dict
outdated:
  description: The names of the applications that systemd has run since before their units C(uwsgi@.service) and C(uwsgi@.socket) were written.
  returned: under systemd
  type: list
  elements: str
leftovers:
  description: What root may not find in C(/run/uwsgi), and the links that it may not find in C(/var/log/uwsgi), made by others before these were closed.
  returned: under systemd
  type: list
  elements: str
acls:
  description: What has an ACL in C(/run/uwsgi), that directory, and C(/var/log/uwsgi) while it is not root's. By it others get at what root makes there.
  returned: under systemd
  type: list
  elements: str
files:
  description:
    - The files and directories of O(files), by path, each in one line to compare.
    - C(file UID:GID MODE SHA1), C(directory UID:GID MODE), also where a link leads to a directory, C(link) for another link, C(special) for anything
      else, and C(nothing).
  returned: under systemd
  type: dict
  sample:
    /etc/uwsgi/emperor.ini: file 0:0 0644 da39a3ee5e6b4b0d3255bfef95601890afd80709
'''

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uwsgi.emperor.plugins.module_utils._host_info import describe_host
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, visible_result, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError


def main():
    module = AnsibleModule(argument_spec=dict(files=dict(type='list', elements='path', default=[])), supports_check_mode=True)
    if os.geteuid() != 0:
        module.fail_json(msg='Root is needed to see what runs, and to read its files (become: true).')
    try:
        result = describe_host(module.run_command, module.params['files'], module.sha1, module.warn)
    except VassalError as error:
        module.fail_json(msg=visible_text(to_native(error)))
    module.exit_json(changed=False, **visible_result(result))


if __name__ == '__main__':
    main()
