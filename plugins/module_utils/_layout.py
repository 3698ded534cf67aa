# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The options that say where things are on a host, and the Host that they make; uwsgi.emperor.layout describes them."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Host, bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import Systemd, supervises


# In seconds, for one systemctl of a module that has no timeout of its own.
SYSTEMCTL = 60


def layout_spec():
    return dict(
        supervisor=dict(choices=['auto', 'emperor', 'systemd'], default='auto'),
        unit=dict(default='uwsgi.service'),
        available_dir=dict(type='path', default='/etc/uwsgi/apps-available'),
        enabled_dir=dict(type='path', default='/etc/uwsgi/apps-enabled'),
        defaults=dict(type='path', default='/etc/uwsgi/vassal-default.ini'),
    )


def find_host(run_command, params):
    """The Host as the options of a module describe it; run_command as AnsibleModule.run_command().

    One systemctl has as long as all of a task.
    """
    spec = layout_spec()
    supervisor = params['supervisor']
    if supervisor == 'auto':
        # the units are for the role's layout
        own = all(params[option] == spec[option]['default'] for option in spec)
        supervisor = 'systemd' if own and supervises() else 'emperor'
    kind = Systemd if supervisor == 'systemd' else Host
    run_command = bounded(run_command, max(1, params.get('timeout') or SYSTEMCTL))
    return kind(run_command, params['unit'], params['available_dir'], params['enabled_dir'], params['defaults'])
