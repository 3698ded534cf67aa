# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""uWSGI's Emperor as the supervisor of the vassals: systemd, /proc, the stats socket, signals."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._alterable import alterable
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import monotonic, read
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import holders, listener, read_stats
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import Snapshot, Supervisor
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, visible
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError, is_set, split_extension

STATS = '/run/uwsgi-emperor/stats.socket'
# An Emperor without stats that is still at work so many seconds after a vassal has ended is kept at it by something else.
SETTLED = 2.0
# Bytes of a command line in which the Emperor's own words to a vassal stand, with one path.
_BEGINNING = 1 << 14


class Emperor(Supervisor):
    """The Emperor of one unit. It starts what is linked, and reloads what has changed."""

    down = 'the Emperor does not run'
    sees_changes = True
    ends_at_once = True

    def __init__(self, run_command, unit, files, defaults):
        super(Emperor, self).__init__(run_command, unit, files, defaults)
        self.settings = {}
        self.stats_address = None
        self._listed = None  # the vassals in its last stats, also those that have ended; None without stats

    def find(self):
        facts = self.show(self.unit)
        if self.why_down:
            return
        main = int(facts.get('MainPID') or 0)
        if not main or _processes.process(main) is None:
            active = facts.get('ActiveState', 'unknown')
            if facts.get('LoadState') == 'not-found':
                self.why_down = 'there is no unit %s; the role uwsgi.emperor.emperor installs it' % self.unit
            elif (active, facts.get('SubState')) == ('active', 'exited'):
                self.why_down = '%s is an init script (active, exited), no Emperor; the role uwsgi.emperor.emperor replaces it' % self.unit
            else:
                self.why_down = '%s is %s (%s); start it with: systemctl start %s' % (self.unit, active, facts.get('Result') or '?', self.unit)
            return
        named = re.search(r'\bpath=(\S+)', facts.get('ExecStart', ''))
        self._find_settings(main, named and named.group(1))
        end = monotonic() + 2
        # systemd calls the unit started before the Emperor has entered its directory
        while not self.pid and monotonic() < end:
            self.pid, seen = self._emperor_among(main)
            if not self.pid:
                time.sleep(0.05)
        if not self.pid:
            self.why_down = "the process of %s watches %s, not %s; set enabled_dir to the Emperor's directory" % (
                self.unit,
                self.settings.get('emperor') or ', '.join(seen) or 'no directory',
                self.files.enabled_dir,
            )
            return
        self._find_stats()

    def _emperor_among(self, main):
        """(PID of the process that watches enabled_dir, directories seen): the unit's main process or a child of that as its master."""
        wanted = os.path.realpath(self.files.enabled_dir)
        directory = self.settings.get('emperor') or ''
        seen, hidden = [], []
        # what a vassal has made a child of its Emperor, by CLONE_PARENT, is the vassal's user's
        user = (_processes.credentials(main) or (None,))[0]
        others = [child for child in _processes.children(main) if (_processes.credentials(child) or (None,))[0] == user]
        for pid in [main] + [child for child in others if not self._vassal_of(child)]:
            try:
                seen.append(os.readlink('/proc/%d/cwd' % pid))
            except OSError:
                hidden.append(pid)
                continue
            if seen[-1] == wanted:
                return pid, seen
        if '*' in os.path.basename(directory) and os.path.realpath(os.path.dirname(directory)) == wanted:
            return main, seen
        if hidden and os.path.realpath(directory) == wanted:
            # where /proc does not show it, its configuration tells; a master starts its Emperor before anything else
            return hidden[1 if len(hidden) > 1 and is_set(self.settings, 'master') else 0], seen
        return None, seen

    def _find_settings(self, main, named):
        """What the Emperor's own configuration says, asked of uWSGI itself: --get prints a value and starts nothing.

        main: the PID of the unit's process. named: the path of the program that the unit starts, None for none.
        """
        argv = _processes.arguments(main)
        if len(argv) < 2:
            self.left_out = ['%s: the command line of its process %d can not be read, so nobody knows what its configuration says' % (self.unit, main)]
            return
        try:
            binary = os.readlink('/proc/%d/exe' % main).replace(' (deleted)', '')
        except OSError:
            binary = argv[0]
        binary = os.path.realpath(binary) if os.path.isabs(binary) else binary
        left_out = []
        # Root is about to run it, with these words, which the Emperor's user may have put there: by ptrace, or by a setuid program. So it has to be uWSGI's
        # own, which is asked about nothing that it would execute, or what the unit names, which is root's word.
        if binary != self.configurations.binary:
            found = alterable(binary) if os.path.isabs(binary) else (binary, 'its path is not known')
            if found or not named or os.path.realpath(named) != binary or not os.path.basename(binary).startswith('uwsgi'):
                why = '%s is not for root alone: %s' % (visible(found[0]), found[1]) if found else 'its unit starts %s' % visible(named or 'another program')
                said = 'it runs %s, which was not asked what its configuration says: %s. %s was asked instead'
                left_out = [said % (visible(binary), why, self.configurations.binary)]
            else:
                self.configurations.binary = binary
        settings = ['emperor', 'emperor-stats', 'emperor-stats-server', 'vassals-include', 'vassals-inherit', 'emperor-graceful-shutdown']
        settings += ['emperor-tyrant', 'master']
        self.settings, found = self.configurations.settings(argv[1:], settings)
        self.left_out = ['%s: %s' % (self.unit, said) for said in left_out + found]

    def user(self):
        """(user ID, group IDs) of an Emperor that can start vassals only as what it is itself, None for root, which becomes anybody."""
        found = _processes.credentials(self.pid) if self.pid else None
        return found if found and found[0] else None

    def included(self):
        """The files that the Emperor adds to a vassal's own, as uWSGI's arguments in pairs."""
        if not self.pid:
            return super(Emperor, self).included()
        given = [('--inherit', self.settings.get('vassals-inherit')), ('--include', self.settings.get('vassals-include'))]
        return [(option, value) for option, value in given if value and os.path.exists(value)]

    def _find_stats(self):
        for address in (STATS, self.settings.get('emperor-stats'), self.settings.get('emperor-stats-server')):
            if address and read_stats(address, self.pid):
                self.stats_address = address
                return

    def stats(self):
        return read_stats(self.stats_address, self.pid) if self.stats_address else None

    def wake(self):
        """Lets the Emperor look at its directory now. A connection to its stats has done that already."""
        self._signal_emperor(signal.SIGWINCH)

    def throttled(self, filename, view):
        """Whether the Emperor may delay a vassal's next start: it is on the blacklist, or there are no stats to tell that."""
        return view.stats is None or filename in view.blacklist

    def clear_blacklist(self):
        """Clears the Emperor's blacklist, on which a vassal that died before its first request waits for seconds."""
        self._signal_emperor(signal.SIGURG)

    @property
    def graceful(self):
        """Whether the Emperor lets a vassal whose link is gone finish its requests."""
        return 'emperor-graceful-shutdown' in self.settings

    def _signal_emperor(self, number):
        if self.pid and _processes.process(self.pid):
            # its handler frees memory: let it not interrupt an allocation, only sleep
            end = monotonic() + 0.5
            while number == signal.SIGURG and monotonic() < end:
                if _processes.state(self.pid) in (b'S', b''):
                    break
                time.sleep(0.001)
            _processes.kill(self.pid, number)

    def stop_gracefully(self, filename, pid, again):
        """Signals a vassal to finish its requests and end; the Emperor starts it again while it is linked."""
        self.signal_vassal(pid, signal.SIGTERM)

    def end(self, filename, pid, again):
        """Signals a vassal, also one that starts, to end at once; the Emperor starts it again while it is linked."""
        self.signal_vassal(pid, signal.SIGINT)

    def _vassal_of(self, pid):
        """The file name of the vassal that a child of the Emperor's runs, by its command line, of which it may have made a long one."""
        for argument in _processes.arguments(pid, _BEGINNING)[1:]:
            directory, base = os.path.split(argument)
            if split_extension(base) and (not directory or (self.pid and directory.rstrip('/') == self.files.enabled_dir)):
                return base
        return None

    def snapshot(self, wake=True):
        """A Snapshot. A connection to its stats wakes the Emperor; without stats, and with `wake`, SIGWINCH does."""
        if self.lost or self.pid and not _processes.process(self.pid):
            self._find_again()
        self._listed = None
        if not self.pid:
            return Snapshot({}, None, {}, lost=self.lost)
        pids = {}
        stats = self.stats()
        if stats is not None:
            entries, waiting, self._listed = {}, {}, set()
            for entry in stats.get('vassals', []):
                name = os.path.basename(entry['id'])
                self._listed.add(name)
                found = _processes.process(entry['pid']) if entry['pid'] > 0 else None
                if found and found[0] == self.pid:
                    entries[name] = entry
                    pids[name] = entry['pid']
                elif entry.get('on_demand') and entry['pid'] == -1:
                    waiting[name] = entry['on_demand']
            blacklist = dict((os.path.basename(entry['id']), entry.get('attempt', 0)) for entry in stats.get('blacklist', []))
            return Snapshot(pids, entries, blacklist, waiting, self.pid)
        if wake:
            self.wake()
        found = {}
        for pid in _processes.children(self.pid):
            found.setdefault(self._vassal_of(pid), []).append(pid)
        found.pop(None, None)
        for name, several in found.items():
            pids[name] = several[0] if len(several) == 1 else self._true_one(name, several)
        return Snapshot(pids, None, {}, emperor=self.pid)

    def _true_one(self, filename, pids):
        """Which of several processes runs a vassal: a vassal can write the name of another into its command line, but not become its user."""
        users = self.configurations.identity(filename)[0], _processes.credentials(self.pid)[0]
        true = [pid for pid in pids if (_processes.credentials(pid) or ('ended',))[0] in users]
        if len(true) != 1:
            raise VassalError(
                '%s: the processes %s of the Emperor all say that they run it; all but one have forged that. Find those that answer for another '
                'application, and end them: kill -KILL PID' % (visible(filename), ', '.join(map(str, sorted(pids))))
            )
        return true[0]

    def leaves(self, filename, since):
        # One that has ended is started once more by an Emperor that has not seen yet that the link is gone. Its stats are of one moment.
        if self._listed is not None:
            return filename in self._listed
        return since < SETTLED and self.pid is not None and self._at_work()

    def _at_work(self):
        """Whether the Emperor may be about to start a vassal once more."""
        # What it has reaped it has started again before it sleeps; and until that has become uWSGI, it has the Emperor's own arguments.
        return (
            any(_processes.state(pid) == b'Z' for pid in _processes.offspring(self.pid))
            or _processes.state(self.pid) not in (b'S', b'')
            or any(self.disguised(pid) for pid in _processes.children(self.pid))
        )

    def _find_again(self):
        """Finds the Emperor that systemd has started in the place of one that has ended."""
        self.pid = self.why_down = self.stats_address = None
        self.find()
        self.lost = self.pid is None

    def failures(self, filename, view):
        """How often a vassal was started in vain, None where nobody counts."""
        return None if view.stats is None else view.blacklist.get(filename, -1) + 1

    @property
    def tyrant(self):
        return is_set(self.settings, 'emperor-tyrant')

    def close_socket(self, path):
        found = listener(path)
        others = [filename for filename, pid in self.snapshot(wake=False).pids.items() if pid == found] if found else []
        if found in (self.pid, 1) or any(to_bytes(path) in (read(self.files.enabled_path(one)) or b'') for one in others):
            # systemd has opened it, or another vassal has it, too, as that one's own file says
            return None
        try:
            left = holders(path, _processes.run_by(os.lstat(path).st_uid)) if found is not None else []
            os.unlink(path)
        except OSError:
            return None
        return None if found is None else (
            'its master has ended, but what it started still listens on %s, which was removed, so that nobody can connect any more. '
            'Look at it and end it: %s' % (path, 'process ' + ', '.join(map(str, left)) if left else 'systemctl status ' + self.unit)
        )
