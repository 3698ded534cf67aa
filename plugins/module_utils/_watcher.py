# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Keeps vassals and their units in step: the units uwsgi@NAME.service follow the links and the processes.

The links are the truth. A unit is enabled while its vassal's link is there, and active while its vassal accepts requests. What is
done otherwise than by systemctl, by the module, by hand or by a crash, watch() sees, one process for all, and tells systemd.

A long file, for the two loops and what they share.

Where systemd runs the applications itself, its units need none of this but that links and enabled units agree: settle().
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import sys
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes, _units
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._agreement import BUSY, MASKED, decide, decide_links
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import read_lines, usual_socket, write_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import find_host
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import blocks
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import Systemd, name_of, unit_of, wanted
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

# The names that were both linked and enabled when they were looked at last: it tells which of the two changed since. With each name
# stands, for the Emperor's vassals, what tells its two links from others that took their places since.
AGREED = '/var/lib/uwsgi-emperor/enabled'

# All times are in seconds.
TICK = 1.0
# The longest that a run of the module is waited for.
RUN_TIMEOUT = 3600
# A vassal that is on the Emperor's blacklist counts as up again once it has lived this long.
STEADY = 3.0
# How many snapshots in a row have to find a vassal down: one that is restarted is down for a moment.
DOWN_AFTER = 2
# While a run of the module is at work, systemd learns what came up, and what went, only after each so many snapshots.
RISES_EVERY = 30
FALLS_EVERY = 4
# systemd is asked again after this many snapshots at least.
ASK_EVERY = 5
# Where a link of a unit's name to /dev/null keeps systemd from having that unit.
MASKS = ('/etc/systemd/system', '/run/systemd/system')


class Watcher(object):
    """Looks at the vassals and at their units, and tells systemd what has changed."""

    def __init__(self, host):
        self.host = host
        self.agreed = _agreement()  # name -> what tells the link and systemctl's from others, None for each that was not there
        self._files = {}  # name -> file name of what is linked
        self._down_for = {}  # name -> looks in a row that found it down
        self._ends = {}  # name -> process that stops it
        self._ticks = 0
        self._settled = None  # what was found when nothing was to do
        self._lost = {}  # file name -> process, and whether its socket is gone
        self._masked = set()
        self._refused = set()  # what systemctl has refused, and was told
        self._busy_for = 0  # looks in a row that found a run of the module at work

    def look(self):
        """(linked, up, down, crashing): sets of names, as decide() takes them."""
        up, listed = self._see()
        linked = set(self._files)
        self._down_for = dict((name, self._down_for.get(name, 0) + 1) for name in linked - up)
        down = set(name for name, looks in self._down_for.items() if looks >= DOWN_AFTER)
        return linked, up, down, listed & down

    def _see(self):
        """Of what is linked the names that accept requests, and of the others those on the Emperor's blacklist."""
        view = self.host.supervisor.snapshot()
        files = self._files = self.host.files.enabled()
        up, listed = set(), set()
        for name, filename in files.items():
            pid = view.pids.get(filename)
            waits = filename in view.blacklist
            if pid and (not waits or (_processes.age(pid) or 0) > STEADY) and self._accepts(view, filename, pid) and self._reachable(filename, pid):
                up.add(name)
            elif waits:
                listed.add(name)
        return up, listed

    def _accepts(self, view, filename, pid):
        return accepts(view.accepting(filename), self.host.asleep(filename, pid), UNASKED, lambda: self.host.settled(pid))

    def _reachable(self, filename, pid):
        """Whether a vassal's socket is there. Its configuration is asked only where the usual one is not, and once for each process."""
        if os.path.lexists(usual_socket(filename)):
            return True
        if self._lost.get(filename, (None,))[0] != pid:
            self.host.configurations.forget(filename)
            self._lost[filename] = pid, self.host.lost_socket(filename)
        return not self._lost[filename][1]

    def tick(self):
        self._ticks += 1
        # before the look: what comes later may have changed what it sees
        off = _units.switched_off()
        for name in off:
            self.agreed.pop(name, None)
        linked, up, down, crashing = self.look()
        enabled = set(name_of(unit) for unit in _files.entries(_units.WANTS))
        links = dict((name, self._links(name)) for name in linked | enabled)
        found = linked, enabled, up, down, crashing, links
        if found == self._settled and self._ticks % ASK_EVERY and not off:
            return
        states = self.states()
        states.update((name, 'deactivating') for name, process in self._ends.items() if process.poll() is None)
        for name, state in states.items():
            if state in BUSY:
                # whoever is at work on it waits for it: only from then on it counts as down
                self._down_for.pop(name, None)
        states.update((name, MASKED) for name in self.masked())
        self._files = self.host.files.enabled()
        if any(states.get(name) == 'active' for name in down):
            # a run of the module may have brought it up since the look, and told systemd so
            down = down - self._see()[0]
        for name in set(links) | set(states) | set(self.agreed):
            if self._links(name) != links.get(name, (None, None)):
                # changed since the look: what was seen, and what systemd says, are of two moments
                states[name] = 'activating'
        busy = self.host.files.busy()
        self._busy_for = self._busy_for + 1 if busy else 0
        renewed = set(name for name in links if _renewed(self.agreed.get(name), links[name]))
        acts, names = decide(
            linked, enabled, set(self.agreed), up, down, crashing, states, self._busy_for % RISES_EVERY == 0, self._busy_for % FALLS_EVERY == 0, renewed
        )
        self._settled = None if acts or busy or set(states.values()) & set(BUSY) else found
        agreed = {}
        left, again = self.act(acts)
        for name in names - left | again & set(self.agreed):
            kept = states.get(name) in BUSY or name not in renewed and not (name in linked and name in enabled)
            agreed[name] = self.agreed[name] if kept and name in self.agreed else links.get(name, (None, None))
        if agreed != self.agreed or off:
            self.agreed = agreed
            write_lines(AGREED, [' '.join([to_native(name)] + [one or '-' for one in agreed[name]]) for name in sorted(agreed)])

    def _links(self, name):
        """What tells a vassal's link, and that of systemctl's, from others that take their places; None for one that is not there."""
        filename = self._files.get(name)
        return filename and _identity('%s/%s' % (self.host.files.enabled_dir, filename)), _identity('%s/%s' % (_units.WANTS, unit_of(name)))

    @staticmethod
    def states():
        dummy, out, dummy = _units.run_command(['systemctl', 'show', '-p', 'Id', '-p', 'ActiveState', 'uwsgi@*.service'])
        return dict((name_of(unit['Id']), unit['ActiveState']) for unit in blocks(out) if 'Id' in unit)

    def masked(self):
        """The names of the units that are masked."""
        found = set()
        for directory in MASKS:
            entries = [entry for entry in _files.entries(directory) if entry.startswith('uwsgi@') and entry.endswith('.service')]
            found.update(name_of(entry) for entry in entries if os.path.realpath('%s/%s' % (directory, entry)) == os.devnull)
        for name in sorted(found - self._masked):
            _units.say('%s is masked: systemd learns nothing of it, and %s runs as its link says' % (unit_of(name), to_native(name)))
        self._masked = found
        return found

    def act(self, acts):
        """Carries out what decide() said: one systemctl for all of a kind. Returns the names that systemctl did not enable, and those not stopped.

        Agreed on and not enabled, the first would be taken for what somebody has disabled since; and not agreed on any more, the others for what
        is to be enabled. What somebody has asked systemd for since is not called off: then systemctl does nothing, and the next look tells.
        """
        left, again = set(), set()
        for act, name in acts:
            if act == 'notice':
                _units.mark(name, True)
            elif act == 'restart':
                _units.ask(name)
            elif act == 'end':
                # beside: it may take a while
                self._ends[name] = _processes.start([sys.argv[0], 'stop', unit_of(name)])
        for command, kinds in (
            (['enable'], ['enable']),
            (['disable'], ['disable']),
            (['reset-failed'], ['reset']),
            (['stop', '--no-block', '--job-mode=fail'], ['stop', 'forget']),
            (['restart', '--no-block', '--job-mode=fail'], ['restart']),
            # each start wants the Emperor, too, which somebody may be stopping
            (['start', '--no-block', '--job-mode=fail'], ['start', 'notice']),
        ):
            units = [unit_of(name) for act, name in acts if act in kinds]
            if units:
                line = '%s %s' % (command[0], ' '.join(units))
                gone = [name for act, name in acts if act == 'forget' and act in kinds]
                for name in gone:
                    # only now, as what systemctl did before may have taken long
                    _units.forget(name)
                code, dummy, err = _units.run_command(['systemctl'] + command + units)
                for name in gone if code else []:
                    _units.remember(name)
                if code and command[0] == 'enable':
                    left.update(name for act, name in acts if act == 'enable')
                if code and command[0] == 'stop':
                    again.update(name for act, name in acts if act == 'stop')
                if not code:
                    self._refused.discard(line)
                    _units.say(line)
                elif line not in self._refused:
                    self._refused.add(line)
                    _units.say('%s: %s' % (line, err.strip()))
        return left, again

    def end(self):
        """Without the Emperor no vassal runs, and without a watcher nobody tells systemd whether one does."""
        names = sorted(name for name, state in self.states().items() if state == 'active')
        # as late as can be: what somebody stops from here on is taken for a part of this
        waiting = _units.jobs()
        ends = _units.emperors_end(waiting)
        if _units.job_of(_units.WATCHER, waiting)[1] == 'restart' and not ends and _processes.process(self.host.supervisor.pid or 0):
            # the next one finds them as they are; a unit that is not active can not be asked to stop meanwhile
            return
        # systemd removes them, too, with the Emperor's runtime directory
        # systemctl's verbs have this file, too, and are called often
        import shutil  # pylint: disable=import-outside-toplevel

        shutil.rmtree(_units.MARKS, ignore_errors=True)
        for name in names:
            if ends == 'restart' and _units.job_of(unit_of(name), waiting)[1] == 'stop':
                # Somebody's own wish, which waits for this watcher to end. The unit asks its vassal if there is no note, and finds by its mark that
                # the wish is no other watcher's.
                _units.mark(name, True)
            else:
                _files.touch('%s/%s' % (_units.FORGOTTEN, unit_of(name)))
        if names:
            _units.run_command(['systemctl', 'stop', '--no-block'] + [unit_of(name) for name in names])


def settle(host):
    """Brings links and the units that systemd runs into agreement."""
    # a run of the module makes the one after the other
    lock = host.files.lock(RUN_TIMEOUT)
    try:
        acts, agreed = unsettled(host)
        linked, available = host.files.enabled(), host.files.available()
        for act, name in acts:
            filename = linked.get(name) or available.get(name) or name + '.ini'
            _units.say('%s %s' % (act, to_native(name)))
            if act == 'enable':
                host.supervisor.order(filename, 'enable')
                host.supervisor.start(filename)
            elif act == 'disable':
                host.supervisor.order(filename, 'disable', 'stop')
            elif act == 'unlink':
                host.files.unlink(filename)
            else:
                host.link(filename)
        host.supervisor.wake()
        write_lines(AGREED, sorted(agreed))
    finally:
        os.close(lock)


def unsettled(host):
    """What settle() would do, and the names agreed on then."""
    linked, agreed = set(host.files.enabled()), _lines(AGREED)
    # nothing is linked to a file that is not there
    enabled = set(map(name_of, wanted())) & (set(host.files.available()) | linked | agreed)
    return decide_links(linked, enabled, agreed)


def follow(host):
    """Keeps links and the units of systemd in step, until it is stopped."""
    found = known = None
    while True:
        previous, found = found, unsettled(host)
        # twice in a row: a file that is replaced is away for a moment
        if found == previous and found != ([], _lines(AGREED)):
            settle(host)
        units = wanted()
        if units != known and not host.files.busy():
            known = units
            read_units()
        time.sleep(TICK)


def read_units():
    """Makes systemd read its files if links for enabled units have changed: from Debian 13 on each of its commands warns otherwise.

    A run of the module leaves that out, as it takes half a second and more.
    """
    if _units.run_command(['systemctl', 'show', '-p', 'NeedDaemonReload', 'uwsgi-vassals.service'])[1].strip().endswith('=yes'):
        _units.run_command(['systemctl', 'daemon-reload'])


def _identity(path):
    """What tells a link from another of its name, None where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return '%d:%.6f' % (found.st_ino, found.st_ctime)


def _renewed(previous, links):
    """Whether one of two links is another than it was; of one that was not there, or that nobody knows, that can not be told."""
    return bool(previous) and any(None not in pair and pair[0] != pair[1] for pair in zip(previous, links))


def _agreement():
    """The names agreed on, each with what tells its links from others; a previous release wrote the names alone."""
    found = {}
    for line in read_lines(AGREED):
        words = [None if word == '-' else word for word in line.split() + ['-', '-']]
        found[to_text(words[0])] = tuple(words[1:3])
    return found


def _lines(path):
    return set(to_text(line.split()[0]) for line in read_lines(path))


def watch():
    """Runs until it is stopped."""

    def stop(dummy, frame):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    host = find_host(_units.run_command, _units.DEFAULTS)
    if not host.supervisor.pid:
        raise VassalError('%s: %s' % (host.supervisor.down, host.supervisor.why_down))
    if isinstance(host.supervisor, Systemd):
        follow(host)
    watcher = Watcher(host)
    try:
        while True:
            watcher.tick()
            time.sleep(TICK)
    finally:
        watcher.end()
