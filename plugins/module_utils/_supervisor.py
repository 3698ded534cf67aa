# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Who runs the vassals: the interface of the two supervisors, and what both are."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._configuration import Configurations
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import Connection
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import EXTENSIONS, VassalError

# The units of Debian's packages that may serve an application, too: one Emperor for all, or a service and a socket for each.
DEBIAN_EMPEROR = 'uwsgi-emperor.service'
OTHERS = [DEBIAN_EMPEROR, 'uwsgi-app@*.service', 'uwsgi-app@*.socket']
DEBIAN_VASSALS = '/etc/uwsgi-emperor/vassals'
# How many bytes of the journal are taken: a single message of an application's may have 32 MB, and costs that little.
_JOURNAL = 1 << 18


class TimedOut(VassalError):
    """A systemctl or journalctl did not end in time."""


def bounded(run_command, seconds):
    """run_command, but with so many seconds for systemctl and journalctl: with systemd or D-Bus stuck they wait for ever, and this raises TimedOut.

    Of what journalctl prints the beginning is returned.
    """

    def run(argv, **options):
        if argv[0] not in ('systemctl', 'journalctl'):
            return run_command(argv, **options)
        cut = ['sh', '-c', '"$@" | head -c %d' % _JOURNAL, 'sh'] if argv[0] == 'journalctl' else []
        result = run_command(['timeout', '-k', '1', str(seconds)] + cut + argv, **options)
        if result[0] in _processes.TIMED_OUT:
            raise TimedOut(
                '%s did not end within %d s: systemd (PID 1) or D-Bus does not answer. What was asked for before may be done or not; '
                'see whether "systemctl status" works, then try again.' % (' '.join(argv), seconds)
            )
        return result

    return run


def blocks(shown):
    """What `systemctl show` prints of several units, as a dict of properties for each."""
    return [dict(line.split('=', 1) for line in block.split('\n') if '=' in line) for block in shown.split('\n\n')]


class Snapshot(object):
    """What a supervisor knows of its vassals at one moment: their PIDs, and what the stats say where there are any."""

    def __init__(self, pids, stats, blacklist, waiting=(), emperor=None, lost=False):
        self.pids = pids  # file name -> PID
        self.stats = stats  # file name -> the vassal's entry; None without a stats socket
        self.blacklist = blacklist  # file name -> attempts that failed
        self.waiting = dict(waiting)  # file name -> socket, of those that the Emperor starts with the first connection
        self.emperor = emperor  # PID of the Emperor whose vassals these are
        self.lost = lost  # whether an Emperor that ran has ended, and another does not run yet

    def accepting(self, filename):
        """Whether a vassal accepts requests and is not about to end, None without a stats socket."""
        if self.stats is None:
            return None
        entry = self.stats.get(filename, {})
        return bool(entry.get('accepting') and not entry.get('cursed'))

    def newborn(self, filename):
        """Whether the stats say that a vassal has not accepted requests yet, not since it was started."""
        entry = (self.stats or {}).get(filename, {})
        return entry.get('last_accepting') == 0 and not entry.get('accepting')


class Supervisor(object):
    """The parent of the vassals' masters, and how it is asked for what it does with them. Emperor and Systemd are the two kinds.

    No process is signalled that was not proved, immediately before, to be the parent (its PID comes from systemd) or a child of the parent
    that runs the vassal's file. Pidfiles are never read: whoever may write /run/uwsgi can forge them.

    run_command takes a list of arguments (and cwd=) and returns (rc, stdout, stderr), as AnsibleModule.run_command().
    files: the Files of the host. defaults: the file with the vassals' defaults.
    """

    # What is said where there is none.
    down = ''
    # What mends a socket that takes no connections.
    mends_socket = 'restart it'
    # Whether the parent has ended since it was found.
    lost = False
    # Whether a file that is newer than what runs is reloaded without being asked for.
    sees_changes = False
    # Whether a vassal whose link is gone may finish its requests.
    graceful = False
    # Whether it runs each vassal as the owner of its file.
    tyrant = False
    # whether end() ends a master whatever it waits for; systemd's signal is one to end gracefully
    ends_at_once = False

    def __init__(self, run_command, unit, files, defaults):
        self.run_command = run_command
        self.unit = unit if '.' in unit else unit + '.service'
        self.files = files
        self.defaults = defaults
        self.configurations = Configurations(files, self.included)
        self.pid = None
        self.why_down = None
        self.left_out = []  # sentences on what could not be looked at of its own configuration
        self._others = set()

    def find(self):
        """Finds the parent's PID, or why there is none."""
        raise NotImplementedError

    def show(self, unit):
        """What systemd says of a unit, as a dict; keeps which of OTHERS are active."""
        command = ['systemctl', 'show']
        for item in ('Id', 'LoadState', 'ActiveState', 'SubState', 'MainPID', 'Result', 'ExecStart'):
            command += ['-p', item]
        try:
            rc, out, err = self.run_command(command + [unit] + OTHERS)
        except (IOError, OSError) as error:
            rc, out, err = 127, '', to_native(error)
        shown = blocks(out)
        self._others = set(other.get('Id') for other in shown[1:] if other.get('ActiveState') == 'active') - set([shown[0].get('Id')])
        if rc != 0 or not shown[0]:
            self.why_down = 'systemd does not answer (%s)' % (err.strip() or 'systemctl ended with %d' % rc)
        return shown[0]

    def refuse_if_served(self, name):
        """Raises VassalError, with the remedy, if one of Debian's own units serves an application of this name already."""
        units = [unit for unit in ('uwsgi-app@%s.socket' % name, 'uwsgi-app@%s.service' % name) if unit in self._others]
        if units:
            found = 'it is served by %s; stop that first: systemctl disable --now %s' % (' and '.join(units), ' '.join(units))
        elif DEBIAN_EMPEROR in self._others and any(os.path.exists('%s/%s%s' % (DEBIAN_VASSALS, name, ending)) for ending in EXTENSIONS):
            found = 'it is a vassal of %s; the playbook uwsgi.emperor.migrate takes it over' % DEBIAN_EMPEROR
        else:
            return
        raise VassalError('%s: %s. It would run twice; nothing was changed.' % (name, found))

    def user(self):
        """(user ID, group IDs) of a parent that can start vassals only as what it is itself, None for root, which becomes anybody."""

    def included(self):
        """The files that a vassal reads beside its own, as uWSGI's arguments in pairs."""
        return [('--include', self.defaults)] if os.path.exists(self.defaults) else []

    def snapshot(self, wake=True):
        """A Snapshot. With `wake`, a supervisor that looks at its directory now and then does so now."""
        raise NotImplementedError

    def wake(self):
        """Makes the supervisor act at once: look at its directory, or do what was ordered."""
        raise NotImplementedError

    def throttled(self, filename, view):
        """Whether a vassal's next start may be delayed because it has failed before."""
        return False

    def clear_blacklist(self):
        """Clears such failures."""

    def start(self, filename):
        """Starts a vassal that is linked, where the link alone does not."""

    def stop_gracefully(self, filename, pid, again):
        """Ends a vassal once its requests have ended. again: whether it is linked, and to be started again."""
        raise NotImplementedError

    def end(self, filename, pid, again):
        """Ends a vassal at once, also one that starts. again: as stop_gracefully() takes it."""
        raise NotImplementedError

    def linked(self, filename):
        """A vassal's link was set."""

    def unlinked(self, filename):
        """A vassal's link was removed."""

    def leaves(self, filename, since):
        """Whether a vassal whose master has ended is not gone yet, as the last snapshot tells. since: seconds since it was seen to have ended."""
        return False

    def end_rest(self, filename):
        """Ends what else of a vassal runs whose master has ended, before its file is removed."""

    def removed(self, filename):
        """A vassal's file was removed."""

    def close_socket(self, path):
        """Removes the socket that a vassal which was stopped leaves behind. Returns a sentence if somebody still listens there, or None."""

    def half_enabled(self, name, link):
        """Whether a vassal with a link of this kind is enabled in part, or is started by something else than its link."""
        return False

    def failures(self, filename, view):
        """How often a vassal was started in vain, None where nobody counts."""
        raise NotImplementedError

    def journal_of(self, filename):
        """The unit whose journal has what a vassal said before it opened its log."""
        return self.unit

    def signal_vassal(self, pid, number):
        """Signals a vassal's master, after a last look that it still is a child of the parent."""
        self.signal_workers(pid, [pid], number)

    def signal_workers(self, pid, workers, number):
        """Signals those of `workers` that are still the vassal's: its master, a child of the parent, and workers of that."""
        if (_processes.process(pid) or (None,))[0] == self.pid and not self.disguised(pid):
            for worker in sorted(_processes.family(pid).intersection(workers)):
                _processes.kill(worker, number)

    def disguised(self, pid):
        """Whether a process has the arguments of the parent: until a child has become uWSGI, or for ever, where a vassal took them.

        A child in its first instants would take a signal as an Emperor does, and stop all vassals.
        """
        own = _processes.command_line(self.pid)
        return not own or _processes.command_line(pid) == own

    def knock(self, address):
        """Connects to a socket which the parent itself holds for a vassal, and says nothing; returns what stood in the way, or None."""
        connection = Connection(address, (self.pid,))
        connection.poll()
        connection.close()
        return connection.problem
