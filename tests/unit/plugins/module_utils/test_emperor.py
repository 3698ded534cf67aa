# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import absolute_import, division, print_function

__metaclass__ = type

from ansible_collections.uwsgi.emperor.plugins.module_utils import _emperor

JOURNAL = [
    '[uWSGI] getting INI configuration from a.ini',
    'failed to open python file /srv/nowhere.py',
    'unable to load app 0',
    '[uWSGI] getting INI configuration from a.ini',
    'clock source: unix',
]


def test_the_journal_tells_of_the_last_start_that_says_why():
    """The Emperor may have begun to start it again when the journal is read."""
    host = object.__new__(_emperor.Host)
    host.unit = 'uwsgi.service'
    host.emperor = None
    host.run_command = lambda argv: (0, '\n'.join(JOURNAL), '')
    host.log_lines = lambda filename, offset=0: ('/var/log/uwsgi/a.log', [])
    assert host.story('a.ini', 0) == ('journalctl -u uwsgi.service', JOURNAL[:3], 'unable to load app 0')
