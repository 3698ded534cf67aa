# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Applications that systemd supervises itself: uwsgi@NAME.service runs one, uwsgi@NAME.socket keeps its socket open meanwhile.

The files, links, defaults and sockets are those of the Emperor's vassals. The role installs the units.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import usual_socket
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot, Supervisor, blocks
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, split_extension

SERVICE = '/etc/systemd/system/uwsgi@.service'
# The Emperor's vassals have a uwsgi@.service, too, but open their sockets themselves.
SOCKET = '/etc/systemd/system/uwsgi@.socket'
# Masked where systemd supervises.
EMPEROR = '/etc/systemd/system/uwsgi.service'
# A mark of root's for each of the Emperor's vassals that accepts requests: with it, its unit starts at once and asks nobody.
MARKS = '/run/uwsgi-emperor/vassals'
# What says of a unit that its next stop asks nobody, as its vassal is gone: for a minute, as the unit knows, since a stop of hundreds takes
# some seconds. systemd removes it neither with the Emperor nor with the watcher.
FORGOTTEN = '/run/uwsgi-vassals'
WANTS = '/etc/systemd/system/multi-user.target.wants'
# A unit that has failed counts as one that systemd has started so often in vain.
FAILED = 5
# What systemd is asked for, in this order.
ORDERS = (
    ('enable', ['--no-reload']),
    ('disable', ['--no-reload']),
    ('stop', ['--no-block']),
    ('reset-failed', []),
    ('start', ['--no-block']),
    ('restart', ['--no-block']),
)


def unit_of(name):
    """The unit of a vassal, with what systemd takes in no name escaped as systemd-escape does."""
    return 'uwsgi@%s.service' % re.sub(r'[^A-Za-z0-9_.@-]', lambda found: '\\x%02x' % ord(found.group()), to_native(name))


def socket_of(name):
    """The unit of the socket of a vassal that systemd runs."""
    return unit_of(name).replace('.service', '.socket')


def name_of(unit):
    """The vassal's name of a unit, or of the instance alone."""
    instance = re.sub(r'^uwsgi@(.*)\.service$', r'\1', to_native(unit))
    return to_text(re.sub(r'\\x([0-9a-f]{2})', lambda found: chr(int(found.group(1), 16)), instance))


def supervises():
    """Whether systemd runs the applications of a host in the role's layout.

    The role masks the Emperor's unit when it has ended the Emperor: before, a unit that starts would end all vassals.
    """
    return os.path.exists(SOCKET) and os.path.realpath(EMPEROR) == os.devnull


def wanted():
    """The units that are enabled."""
    return set(entry for entry in _files.entries(WANTS) if entry.startswith('uwsgi@'))


def announce(supervisor, up, down):
    """Tells systemd which vassals of an Emperor have come up and which have stopped, before somebody who knows it asks for more.

    The watcher would tell it a second or three later: till then systemctl stop, or systemctl start, has nothing to do, and says success. A
    unit for which systemd has something else to do is left to that, and all of them to the watcher where systemd can not be told.
    """
    own = supervisor.unit == 'uwsgi.service' and supervisor.files.enabled_dir == '/etc/uwsgi/apps-enabled' and os.path.isdir(os.path.dirname(MARKS))
    if not up and not down or isinstance(supervisor, Systemd) or not own or not os.path.exists(SERVICE) or os.path.exists(SOCKET):
        return
    risen, fallen = [[unit_of(name) for name in names] for names in (up, down)]
    try:
        for unit in risen:
            _files.remove('%s/%s' % (FORGOTTEN, unit))
            _files.touch('%s/%s' % (MARKS, unit))
        if risen:
            supervisor.run_command(['systemctl', '-q', 'start', '--job-mode=fail'] + risen)
        shown = blocks(supervisor.run_command(['systemctl', 'show', '-p', 'Id', '-p', 'ActiveState'] + fallen)[1]) if fallen else []
        # a unit that is not active would not ask at its next stop
        active = [unit['Id'] for unit in shown if unit.get('ActiveState') == 'active']
        for unit in active:
            _files.remove('%s/%s' % (MARKS, unit))
            _files.touch('%s/%s' % (FORGOTTEN, unit))
        if active:
            supervisor.run_command(['systemctl', '-q', 'stop', '--job-mode=fail'] + active)
        for unit in active:
            # where the watcher was quicker it is still there, and another stop would ask nobody
            _files.remove('%s/%s' % (FORGOTTEN, unit))
    except (IOError, OSError, VassalError):
        pass


class Systemd(Supervisor):
    """systemd in the Emperor's place: it is asked for what an Emperor does by itself. It is asked once for all vassals, when the next look is taken."""

    down = 'systemd does not supervise it'
    mends_socket = 'stop and start it, as systemd keeps its socket during a restart'

    def __init__(self, run_command, unit, files, defaults):
        super(Systemd, self).__init__(run_command, 'uwsgi@.service', files, defaults)
        self._orders = dict((verb, []) for verb, dummy in ORDERS)
        self._restarting = set()  # the names whose units wait for another start
        self._stopping = set()  # the names whose units have not stopped yet

    def find(self):
        shown = self.show(unit_of(u'uwsgi'))
        if self.why_down:
            return
        if not os.path.exists(SOCKET):
            self.why_down = 'there is no %s; the role uwsgi.emperor.emperor installs it with emperor_supervisor: systemd' % SOCKET
        elif shown.get('LoadState') != 'loaded':
            self.why_down = 'systemd can not load %s (%s)' % (SERVICE, shown.get('LoadState') or '?')
        else:
            self.pid = 1

    def refuse_if_served(self, name):
        super(Systemd, self).refuse_if_served(name)
        if '\\' in unit_of(name):
            # the units' specifiers would not give the name back
            raise VassalError('%s: under systemd a name consists of letters, digits and _ . @ -. Rename its file; nothing was changed.' % to_native(name))

    def snapshot(self, wake=True):
        if not self.pid:
            return Snapshot({}, None, {})
        self.wake()
        pids, restarts = {}, {}
        self._restarting, self._stopping = set(), set()
        files = self.files.known()
        properties = ['-p', 'Id', '-p', 'MainPID', '-p', 'ActiveState', '-p', 'NRestarts']
        for unit in blocks(self.run_command(['systemctl', 'show'] + properties + ['uwsgi@*.service'])[1]):
            if 'Id' not in unit:
                continue
            name = name_of(unit['Id'])
            filename = files.get(name, name + '.ini')
            pid = self._master(int(unit.get('MainPID') or 0), unit['Id'])
            if pid:
                pids[filename] = pid
            elif unit.get('ActiveState') == 'activating':
                self._restarting.add(name)
            elif unit.get('ActiveState') == 'deactivating':
                self._stopping.add(name)
            # systemd 215 does not count them
            count = FAILED if unit.get('ActiveState') == 'failed' else int(unit.get('NRestarts') or 0)
            if count:
                restarts[filename] = count
        return Snapshot(pids, None, restarts)

    def _master(self, pid, unit):
        """The process of a unit that systemd has started, found from its main one; None without one.

        Which is the main one systemd takes an application's word for: one of its own processes, and before 237 any.
        """
        while pid and _processes.in_unit(pid, unit):
            parent = (_processes.process(pid) or (None,))[0]
            if parent == self.pid:
                return pid
            pid = parent
        return None

    def wake(self):
        """Asks systemd for what has gathered."""
        for verb, options in ORDERS:
            units, self._orders[verb] = self._orders[verb], []
            if units:
                # units that are not loaded have no failure to reset
                self.run_command(['systemctl', '-q', verb] + options + units)

    def start(self, filename):
        self.order(filename, 'reset-failed', 'start')

    def stop_gracefully(self, filename, pid, again):
        if not again:
            return
        self.order(filename, 'reset-failed', 'restart')
        if self.knock(usual_socket(filename)):
            # somebody has taken its place, or removed it
            self._orders['restart'].append(socket_of(split_extension(filename)[0]))

    def end(self, filename, pid, again):
        # one that is unlinked was ordered to stop with that
        if again:
            self.stop_gracefully(filename, pid, again)

    def linked(self, filename):
        self.order(filename, 'enable')

    def unlinked(self, filename):
        self.order(filename, 'disable', 'stop', 'reset-failed')

    def leaves(self, filename, since):
        # systemd ends what else an application has started, and closes its socket when all have ended
        return split_extension(filename)[0] in self._stopping

    def end_rest(self, filename):
        self.run_command(['systemctl', '-q', 'stop', self.journal_of(filename)])

    def removed(self, filename):
        self.order(filename, 'reset-failed')
        self.wake()

    def order(self, filename, *verbs):
        """Notes what systemd is to do with a vassal's unit; it is asked with the next snapshot."""
        for verb in verbs:
            self._orders[verb].append(self.journal_of(filename))

    def failures(self, filename, view):
        return view.blacklist.get(filename, 0)

    def journal_of(self, filename):
        return unit_of(split_extension(filename)[0])

    def begun(self, filename):
        """When systemd started a vassal last, in seconds since the epoch."""
        dummy, out, dummy = self.run_command(['systemctl', 'show', '-p', 'ExecMainStartTimestampMonotonic', self.journal_of(filename)])
        started = int(blocks(out)[0].get('ExecMainStartTimestampMonotonic') or 0) / 1e6
        if hasattr(time, 'monotonic'):
            now = time.monotonic()
        else:
            now = _processes.uptime()
        return time.time() - max(now - started, 0)

    def half_enabled(self, name, link):
        # the link without the unit, the unit without the link, and what systemd keeps starting: all go when it is disabled
        half = (link == 'right') is not (unit_of(name) in wanted()) and link in (None, 'right')
        return half or link is None and name in self._restarting
