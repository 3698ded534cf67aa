# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The Emperor and its vassals as they are on this host: systemd, /proc, the stats socket, links and files.

No process is signalled that was not proved, immediately before, to be the Emperor (its PID comes from systemd) or a
child of the Emperor that runs the vassal's file. Pidfiles are never read: whoever may write /run/uwsgi can forge them.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import functools
import os
import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _environment, _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import CONNECTED, QUEUED, UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._configuration import APPLICATION_OPTIONS, SOCKETS, UWSGI_SOCKETS, Configurations
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import RUN_DIR, Files
from ansible_collections.uwsgi.emperor.plugins.module_utils._log import find_defect, find_reason, last_start, read_lines, recent, telling_start
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import monotonic, read
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import Conversation, holders, listener, read_stats
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, visible, visible_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import (
    EXTENSIONS,
    Situation,
    VassalError,
    is_set,
    split_extension,
)

STATS = '/run/uwsgi-emperor/stats.socket'
# The units of Debian's packages that may serve an application, too: one Emperor for all, or a service and a socket for each.
OTHER_EMPEROR = 'uwsgi-emperor.service'
OTHERS = [OTHER_EMPEROR, 'uwsgi-app@*.service', 'uwsgi-app@*.socket']
OTHER_VASSALS = '/etc/uwsgi-emperor/vassals'
# A master of two or more workers that is told to stop in its first instants may wait out the mercy for one of them.
SETTLE = 0.5
# The Emperor delays the next start of a vassal that dies by three minutes at the most; here is some time more for it to fail.
THROTTLE = 240
# What coreutils' timeout ends with when time is over: its own code, or that of a SIGKILL.
_TIMED_OUT = (124, 137, -9)


def bounded(run_command, seconds):
    """run_command, but with so many seconds for systemctl and journalctl: with systemd or D-Bus stuck they wait for ever."""

    def run(argv, **options):
        if argv[0] not in ('systemctl', 'journalctl'):
            return run_command(argv, **options)
        result = run_command(['timeout', '-k', '1', str(seconds)] + argv, **options)
        if result[0] in _TIMED_OUT:
            raise VassalError(
                '%s did not end within %d s: systemd (PID 1) or D-Bus does not answer. What was asked for before may be done or not; '
                'see whether "systemctl status" works, then try again.' % (' '.join(argv), seconds)
            )
        return result

    return run


def blocks(shown):
    """What `systemctl show` prints of several units, as a dict of properties for each."""
    return [dict(line.split('=', 1) for line in block.split('\n') if '=' in line) for block in shown.split('\n\n')]


class View(object):
    """One look at the Emperor: the vassals' PIDs, and what the stats say where there are any."""

    def __init__(self, pids, stats, blacklist, waiting=(), emperor=None, lost=False):
        self.pids = pids  # file name -> PID
        self.stats = stats  # file name -> the vassal's entry; None without a stats socket
        self.blacklist = blacklist  # file name -> attempts that failed
        self.waiting = dict(waiting)  # file name -> socket, of those that the Emperor starts with the first connection
        self.emperor = emperor  # PID of the Emperor whose vassals these are
        self.lost = lost  # whether an Emperor that ran has ended, and another does not run yet

    def accepting(self, filename):
        """Whether a vassal accepts requests and shall go on to, None without a stats socket."""
        if self.stats is None:
            return None
        entry = self.stats.get(filename, {})
        return bool(entry.get('accepting') and not entry.get('cursed'))

    def newborn(self, filename):
        """Whether the stats say that a vassal has not accepted requests yet, not since it was started."""
        entry = (self.stats or {}).get(filename, {})
        return entry.get('last_accepting') == 0 and not entry.get('accepting')


class Host(object):
    """The Emperor of one unit and the directories of its vassals.

    run_command takes a list of arguments (and cwd=) and returns (rc, stdout, stderr), as AnsibleModule.run_command().
    """

    def __init__(self, run_command, unit, available_dir, enabled_dir, defaults):
        self.run_command = run_command
        self.unit = unit if '.' in unit else unit + '.service'
        self.files = Files(available_dir, enabled_dir)
        self.available_dir = self.files.available_dir
        self.enabled_dir = self.files.enabled_dir
        self.defaults = defaults
        self.emperor = None  # PID
        self.why_down = None
        self._others = set()
        self.settings = {}
        self.stats_address = None
        self.configurations = Configurations(self.files, self.included)
        self.left_out_of_settings = []  # sentences
        self._find()

    # the Emperor

    def show(self, unit):
        """What systemd says of a unit, as a dict; keeps which of OTHERS are active."""
        command = ['systemctl', 'show']
        for item in ('Id', 'LoadState', 'ActiveState', 'SubState', 'MainPID', 'Result'):
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

    def _find(self):
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
        self._find_settings(main)
        end = monotonic() + 2
        # systemd calls the unit started before the Emperor has entered its directory
        while not self.emperor and monotonic() < end:
            self.emperor, seen = self._emperor_among(main)
            if not self.emperor:
                time.sleep(0.05)
        if not self.emperor:
            self.why_down = "the process of %s watches %s, not %s; set enabled_dir to the Emperor's directory" % (
                self.unit,
                self.settings.get('emperor') or ', '.join(seen) or 'no directory',
                self.enabled_dir,
            )
            return
        self._find_stats()

    def refuse_twin(self, name):
        """Raises VassalError, with the remedy, if one of Debian's own units serves an application of this name already."""
        units = [unit for unit in ('uwsgi-app@%s.socket' % name, 'uwsgi-app@%s.service' % name) if unit in self._others]
        if units:
            found = 'it is served by %s; stop that first: systemctl disable --now %s' % (' and '.join(units), ' '.join(units))
        elif OTHER_EMPEROR in self._others and any(os.path.exists('%s/%s%s' % (OTHER_VASSALS, name, ending)) for ending in EXTENSIONS):
            found = 'it is a vassal of %s; the playbook uwsgi.emperor.migrate takes it over' % OTHER_EMPEROR
        else:
            return
        raise VassalError('%s: %s. It would run twice; nothing was changed.' % (name, found))

    def _emperor_among(self, main):
        """(PID of the process that watches enabled_dir, directories seen): the unit's main process or a child of that as its master."""
        wanted = os.path.realpath(self.enabled_dir)
        directory = self.settings.get('emperor') or ''
        seen, hidden = [], []
        for pid in [main] + [child for child in _processes.children(main) if not self._vassal_of(child)]:
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

    def _find_settings(self, main):
        """What the Emperor's own configuration says, asked of uWSGI itself: --get prints a value and starts nothing."""
        argv = _processes.arguments(main)
        if len(argv) < 2:
            return
        try:
            binary = os.readlink('/proc/%d/exe' % main).replace(' (deleted)', '')
        except OSError:
            binary = argv[0]
        self.configurations.binary = binary
        settings = ['emperor', 'emperor-stats', 'emperor-stats-server', 'vassals-include', 'vassals-inherit', 'emperor-graceful-shutdown']
        settings += ['emperor-tyrant', 'master']
        self.settings, left_out = self.configurations.settings(argv[1:], settings)
        self.left_out_of_settings = ['%s: %s' % (self.unit, said) for said in left_out]

    # configurations

    @property
    def binary(self):
        """The program of uWSGI's that the Emperor runs."""
        return self.configurations.binary

    def options(self, filename, text=None):
        """Configurations.options()."""
        return self.configurations.options(filename, text)

    def lint(self, filename, text=None, strict=True):
        """Configurations.lint()."""
        return self.configurations.lint(filename, text, strict)

    def read(self, files):
        """Configurations.read()."""
        self.configurations.read(files)

    def left_out(self, filename):
        """Configurations.left_out()."""
        return self.configurations.left_out(filename)

    def forget(self, filename):
        """Configurations.forget()."""
        self.configurations.forget(filename)

    def _user_of_vassals(self):
        """(user ID, group IDs) of an Emperor that can start vassals only as what it is itself, None for root, which becomes anybody."""
        found = _processes.credentials(self.emperor) if self.emperor else None
        return found if found and found[0] else None

    def identity(self, filename, text=None):
        """(user ID, group ID) as which a vassal's file, or the text that it would get, has it run; None for what can't be told."""
        if is_set(self.settings, 'emperor-tyrant'):
            # a tyrant runs it as the owner of its file
            return None, None
        own = self._user_of_vassals()
        return (own[0], own[1][0]) if own else self.configurations.identity(filename, text)

    def exposed(self, filename, text=None):
        """Configurations.exposed(), of an Emperor that starts vassals as root."""
        if is_set(self.settings, 'emperor-tyrant') or self._user_of_vassals():
            return [], []
        return self.configurations.exposed(filename, text)

    def included(self):
        """The files that the Emperor adds to a vassal's own, as uWSGI's arguments in pairs."""
        given = [('--include', self.defaults)]
        if self.emperor:
            given = [('--inherit', self.settings.get('vassals-inherit')), ('--include', self.settings.get('vassals-include'))]
        return [(option, value) for option, value in given if value and os.path.exists(value)]

    def _find_stats(self):
        for address in (STATS, self.settings.get('emperor-stats'), self.settings.get('emperor-stats-server')):
            if address and read_stats(address, self.emperor):
                self.stats_address = address
                return

    def stats(self):
        return read_stats(self.stats_address, self.emperor) if self.stats_address else None

    def wake(self):
        """Lets the Emperor look at its directory now. A connection to its stats has done that already."""
        self._signal_emperor(signal.SIGWINCH)

    @staticmethod
    def throttled(filename, view):
        """Whether the Emperor may delay a vassal's next start: it is on the blacklist, or there are no stats to tell that."""
        return view.stats is None or filename in view.blacklist

    def forgive(self):
        """Clears the Emperor's blacklist, on which a vassal that died before its first request waits for seconds."""
        self._signal_emperor(signal.SIGURG)

    # What is said where it is not there.
    down = 'the Emperor does not run'
    # Whether the Emperor has ended since it was found.
    lost = False
    # Whether a file that is newer than what runs is reloaded without being asked for.
    sees_changes = True

    @property
    def graceful(self):
        """Whether the Emperor lets a vassal whose link is gone finish its requests."""
        return 'emperor-graceful-shutdown' in self.settings

    def _signal_emperor(self, number):
        if self.emperor and _processes.process(self.emperor):
            # its handler frees memory: let it not interrupt an allocation, only sleep
            end = monotonic() + 0.5
            while number == signal.SIGURG and monotonic() < end:
                data = read('/proc/%d/stat' % self.emperor) or b')  S'
                if data[data.rindex(b')') + 2 :][:1] == b'S':
                    break
                time.sleep(0.001)
            _processes.kill(self.emperor, number)

    def start(self, filename):
        """The Emperor starts what is linked."""

    def finish(self, filename, pid, again):
        """Has a vassal end once its requests have; the Emperor starts it again while it is linked."""
        self.signal_vassal(pid, signal.SIGTERM)

    def end(self, filename, pid, again):
        """Has a vassal end at once, one that starts, too; the Emperor starts it again while it is linked."""
        self.signal_vassal(pid, signal.SIGINT)

    @staticmethod
    def leaves(filename):
        """Whether a vassal whose master has ended is not gone yet."""
        return False

    def journal_of(self, filename):
        """The unit whose journal has what a vassal said before it opened its log."""
        return self.unit

    # vassals

    def _vassal_of(self, pid):
        """The file name of the vassal that a child of the Emperor's runs, by its command line."""
        for argument in _processes.arguments(pid)[1:]:
            directory, base = os.path.split(argument)
            if split_extension(base) and (not directory or (self.emperor and directory.rstrip('/') == self.enabled_dir)):
                return base
        return None

    def look(self, wake=True):
        """One View. A connection to its stats wakes the Emperor; without stats, and with `wake`, SIGWINCH does."""
        if self.lost or self.emperor and not _processes.process(self.emperor):
            self._find_again()
        if not self.emperor:
            return View({}, None, {}, lost=self.lost)
        pids = {}
        stats = self.stats()
        if stats is not None:
            entries, waiting = {}, {}
            for entry in stats.get('vassals', []):
                name = os.path.basename(entry['id'])
                found = _processes.process(entry['pid']) if entry['pid'] > 0 else None
                if found and found[0] == self.emperor:
                    entries[name] = entry
                    pids[name] = entry['pid']
                elif entry.get('on_demand') and entry['pid'] == -1:
                    waiting[name] = entry['on_demand']
            blacklist = dict((os.path.basename(entry['id']), entry.get('attempt', 0)) for entry in stats.get('blacklist', []))
            return View(pids, entries, blacklist, waiting, self.emperor)
        if wake:
            self.wake()
        for pid in _processes.children(self.emperor):
            name = self._vassal_of(pid)
            if name:
                if name in pids:
                    raise VassalError('%s: both process %d and %d of the Emperor run it; one of them forged its name.' % (visible(name), pids[name], pid))
                pids[name] = pid
        return View(pids, None, {}, emperor=self.emperor)

    def _find_again(self):
        """Finds the Emperor that systemd has started in the place of one that has ended."""
        self.emperor = self.why_down = self.stats_address = None
        self._find()
        self.lost = self.emperor is None

    def signal_vassal(self, pid, number):
        """Signals a vassal's master, after a last look that it still is a child of the Emperor."""
        self.signal_workers(pid, [pid], number)

    def signal_workers(self, pid, workers, number):
        """Signals those of `workers` that are still the vassal's: its master, a child of the Emperor, and children of that."""
        if (_processes.process(pid) or (None,))[0] == self.emperor and not self.disguised(pid):
            for worker in sorted(set(workers) & set(_processes.children(pid) + [pid])):
                _processes.kill(worker, number)

    def disguised(self, pid):
        """Whether a process has the arguments of the Emperor: until a child has become uWSGI, or for ever, where a vassal took them.

        A child in its first instants would take a signal as its Emperor does, and stop all vassals.
        """
        return _processes.arguments(pid) == _processes.arguments(self.emperor)

    def hang_up(self, filename, pid):
        """Has a vassal finish its requests: its master then starts anew; without one each process ends."""
        self.signal_workers(pid, _processes.children(pid) + [pid] if self.masterless(filename) else [pid], signal.SIGHUP)

    def knock(self, address):
        """Connects to a socket which the Emperor itself holds for a vassal, and says nothing; returns what stood in the way, or None."""
        conversation = Conversation(address, (self.emperor,))
        conversation.poll()
        conversation.close()
        return conversation.problem

    def tell_fifo(self, filename, pid, command):
        """Writes a command to a vassal's master-fifo, once that is proved to be one which its master holds open.

        The master makes it when its workers accept requests already, and anew after each command: it may not be there for a moment.
        """
        path = self.options(filename)['master-fifo']
        end = monotonic() + SETTLE
        while True:
            problem = _processes.write_fifo(pid, path, command)
            if not problem:
                return
            if monotonic() > end:
                raise VassalError('%s %s' % (path, problem))
            time.sleep(0.01)

    # whether vassals accept requests

    @staticmethod
    def usual_socket(filename):
        """The path at which nginx finds a vassal."""
        return '%s/%s.socket' % (RUN_DIR, split_extension(filename)[0])

    def _addresses(self, filename, options):
        """Where a vassal may listen: the path of the layout, and (asked for only if it isn't there) what its configuration says."""
        usual = self.usual_socket(filename)
        there = os.path.exists(usual)
        if there:
            yield usual
        found = self.options(filename)
        for option in options:
            if option in found and not (there and found[option] == usual):
                yield found[option]

    def converse(self, filename, pid, message=None):
        """A Conversation on the first of a vassal's sockets that is its own, or about why there is none; None where it names no socket."""
        conversation = None
        for address in self._addresses(filename, SOCKETS if message is None else UWSGI_SOCKETS):
            conversation = Conversation(address, (pid, self.emperor), message)
            conversation.poll()
            if not conversation.problem:
                break
        return conversation

    def close_socket(self, filename):
        """Removes the socket that a vassal which was stopped leaves behind. Returns a sentence if somebody goes on to listen there, or None."""
        path = self.usual_socket(filename)
        found = listener(path)
        if found and (found == self.emperor or (_processes.process(found) or (None,))[0] == self.emperor):
            # another vassal has that socket, too
            return None
        try:
            user = os.lstat(path).st_uid
            left = [pid for pid in holders(path) if (_processes.credentials(pid) or (None,))[0] == user] if found is not None else []
            os.unlink(path)
        except OSError:
            return None
        return None if found is None else (
            'its master has ended, but what it started still listens on %s, which was removed, so that nobody can connect any more. '
            'Look at it and end it: %s' % (path, 'process ' + ', '.join(map(str, left)) if left else 'systemctl status ' + self.unit)
        )

    def lost_socket(self, filename):
        """Whether a vassal's configuration names the socket of the layout, and that is not there."""
        usual = self.usual_socket(filename)
        if os.path.lexists(usual):
            return False
        found = self.options(filename)
        return any(found.get(option) == usual for option in SOCKETS)

    def masterless(self, filename):
        """Whether a vassal runs without a master process, so that its only process is its worker."""
        options = self.options(filename)
        return bool(options) and not is_set(options, 'master')

    def asleep(self, filename, pid):
        """Whether a vassal has no workers because it makes them when somebody connects."""
        return not _processes.children(pid) and any(is_set(self.options(filename), option) for option in ('cheap', 'idle'))

    @staticmethod
    def settled(pid):
        """Whether a worker of the vassal is out of its first instants."""
        return any((_processes.age(worker) or 0) > SETTLE for worker in _processes.children(pid) or [pid])

    def _accepting(self, pids, view):
        """The file names, of `pids`, of vassals that accept requests. All of them are asked at once."""
        result = set()
        asked = {}
        for filename, pid in pids.items():
            told, asleep = view.accepting(filename), self.asleep(filename, pid)
            # who sleeps would be woken, and of who is told not to accept nobody asks more
            conversation = None if asleep or told is False else self.converse(filename, pid)
            state = UNASKED if conversation is None else conversation.state
            if accepts(told, asleep, state, functools.partial(self.settled, pid)):
                result.add(filename)
            elif state in (QUEUED, CONNECTED):
                asked[filename] = conversation
        end = monotonic() + 0.2
        while asked and monotonic() < end:
            for filename in [filename for filename in asked if asked[filename].poll()]:
                if not asked.pop(filename).problem:
                    result.add(filename)
            time.sleep(0.002)
        return result

    def failures(self, filename, view):
        """How often a vassal was started in vain, None where nobody counts."""
        return None if view.stats is None else view.blacklist.get(filename, -1) + 1

    def version(self):
        """The version of the uWSGI that the Emperor runs, None where it does not say."""
        rc, out, dummy = self.run_command([self.binary, '--version'])
        return out.strip() if rc == 0 and out.strip() else None

    def is_stale(self, situation, watch=()):
        """Whether a vassal's file, the defaults or a path in `watch` is newer than its oldest worker, which is as old as its configuration."""
        if situation.unfinished:
            return True
        ages = [one for one in map(_processes.age, situation.workers) if one is not None]
        if not ages:
            return True
        started = time.time() - max(ages)
        for path in [situation.path] + [value for dummy, value in self.included()] + list(watch):
            try:
                if os.stat(path).st_mtime > started:
                    return True
            except OSError:
                continue
        return False

    # files and links

    def known(self):
        """The file names, by name, of all vassals that have a file or a link."""
        found = self.files.names(self.available_dir)
        found.update(self.files.names(self.enabled_dir))
        return found

    def enabled(self):
        """The file names, by name, of the vassals that have a link which leads to a file."""
        return self.files.names(self.enabled_dir, os.path.exists)

    def available(self):
        """The file names, by name, of the vassals that have an available file."""
        return self.files.names(self.available_dir, os.path.exists)

    def situations(self, names, view, complain=None):
        """The Situations of vassals, in the order of `names`.

        complain: is called with the VassalError of each that has none, which is left out; without it that is raised.
        """
        found = []
        for name in names:
            try:
                found.append(self._situation(name, view))
            except VassalError as error:
                if not complain:
                    raise
                complain(error)
        running = dict((one.filename, one.pid) for one in found if one.pid)
        accepting = self._accepting(running, view)
        for one in found:
            one.accepting = one.filename in accepting
        return found

    def _situation(self, name, view):
        extensions = [
            extension
            for extension in EXTENSIONS
            if any(os.path.lexists('%s/%s%s' % (directory, name, extension)) for directory in (self.available_dir, self.enabled_dir))
        ]
        if len(extensions) > 1:
            raise VassalError('%s: there are files for it with the endings %s; only one can be meant.' % (name, ', '.join(extensions)))
        extension = extensions[0] if extensions else '.ini'
        filename = name + extension
        available = '%s/%s' % (self.available_dir, filename)
        enabled = '%s/%s' % (self.enabled_dir, filename)
        path = available
        text = read(available) if os.path.isfile(available) else None
        if text is None and os.path.lexists(available) and not os.path.islink(available):
            raise VassalError('%s: %s can not be read as a file; root is needed (become: true).' % (name, available))
        link = target = None
        if os.path.islink(enabled):
            target = '%s -> %s' % (enabled, os.readlink(enabled))
            if os.path.realpath(enabled) == os.path.realpath(available):
                link = 'right' if text is not None else 'dangling'
            elif os.path.exists(enabled):
                path = os.path.realpath(enabled)
                link = 'wrong' if text is not None else 'elsewhere'
                text = read(path) if text is None else text
            else:
                link = 'dangling'
        elif os.path.lexists(enabled):
            link, target, path = 'file', enabled, enabled
            text = read(enabled)
        pid = view.pids.get(filename)
        workers = _processes.children(pid) if pid else []
        if pid and not workers and self.masterless(filename):
            workers = [pid]
        mtime = None if text is None else os.stat(path).st_mtime
        env = self.env_path(filename)
        return Situation(
            name, extension, text, link, target, pid, workers, path=path, mtime=mtime, shared=self.files.shared,
            access=_files.access(path), credentials=_processes.credentials(pid) if pid else None, env=read(env), env_access=_files.access(env),
            unfinished=self._unfinished(filename) if pid else None,
        )  # fmt: skip

    def write(self, filename, text, mtime, access=None):
        """Puts a file in place by one rename, with the modification time `mtime`; its access is that of the former file unless it is given."""
        self.files.write(filename, text, mtime, access)
        self.configurations.wrote(filename, text)

    @staticmethod
    def set_access(path, access):
        """_files.set_access()."""
        _files.set_access(path, access)

    # the environment

    def env_path(self, filename):
        """The file of a vassal's environment, which is an INI file whatever its own is."""
        return self.files.env(filename)

    def write_env(self, filename, text, access=None):
        """Files.write_env()."""
        self.files.write_env(filename, text, access)

    def check_env(self, name):
        """Raises VassalError where the defaults do not have uWSGI read the environment."""
        files = [value for dummy, value in self.included()]
        if not any(_environment.is_read(self.files.env_dir, read(path) or b'') for path in files):
            raise VassalError(
                '%s: env needs these lines in the section [uwsgi] of %s, so that uWSGI reads the variables. Nothing was changed.\n%s'
                % (name, files[-1] if files else self.defaults, '\n'.join('  ' + line for line in _environment.lines_needed(self.files.env_dir)))
            )

    def hide(self, filename, lines):
        """Lines of a log without the values of a vassal's environment, of the former one, too."""
        hidden = []
        for path in self.files.env(filename), self.files.former_env(filename):
            hidden += _environment.secrets(_environment.parse(read(path) or b''))
        # the lines are escaped already
        hidden += [visible(value) for value in hidden]
        return _environment.mask_lines(lines, hidden) if hidden else lines

    def mtime(self, filename):
        """The time of the file that the Emperor compares, 0 where there is none."""
        for directory in (self.enabled_dir, self.available_dir):
            try:
                return int(os.stat('%s/%s' % (directory, filename)).st_mtime)
            except OSError:
                continue
        return 0

    def link(self, filename):
        self.files.link(filename)

    def refuse_unlink(self, filename):
        """Raises VassalError if a vassal's link can not be removed: what is told to end would only be started again."""
        path = '%s/%s' % (self.enabled_dir, filename)
        if os.path.lexists(path) and not os.access(self.enabled_dir, os.W_OK | os.X_OK):
            raise VassalError(
                '%s can not be removed: %s is read-only or immutable. Nothing was changed; make it writable (see findmnt -T and lsattr -d)'
                % (path, self.enabled_dir)
            )

    def unlink(self, filename):
        self.files.unlink(filename)

    def remove(self, filename):
        """Removes a vassal's file and what it left in the runtime directory. Its log stays."""
        self.files.delete_all(filename)

    def delete_available(self, filename):
        self.files.delete(filename)

    def lock(self, timeout, tell=None, sleep=time.sleep):
        """Files.lock()."""
        return self.files.lock(timeout, tell, sleep)

    def busy(self):
        """Whether another run on this host is changing something."""
        return self.files.busy()

    def note_change(self, filename, mode, pids):
        """Notes that a vassal's file is about to change and which processes run the former one, for a run after one that is killed."""
        self.files.note(filename, mode, [(pid, start) for pid, (dummy, start) in ((pid, _processes.process(pid)) for pid in pids) if start])

    def forget_change(self, filename):
        """The processes have taken up the change, or are gone."""
        self.files.forget(filename)

    def _unfinished(self, filename):
        """How a change of a vassal's file that a run was killed in is to be taken up, None where no process runs the former file."""
        mode, processes = self.files.noted(filename) or (None, [])
        return mode if any((_processes.process(pid) or (None, None))[1] == start for pid, start in processes) else None

    def open_directory(self):
        """What is wrong with the runtime directory, as a sentence with the remedy; None where only root can change it."""
        try:
            found = _files.open_to(os.lstat(RUN_DIR))
        except OSError:
            return None
        return found and (
            '%s is not for root alone: %s. An application that may change it becomes root by it, as root opens and chowns sockets and '
            'pidfiles there. Set chown-socket = www-data:www-data in %s, write "d %s 0755 root root -" to /etc/tmpfiles.d/uwsgi.conf, '
            'run: chown root:root %s && chmod 0755 %s, and restart the applications.'
        ) % (RUN_DIR, found, self.defaults, RUN_DIR, RUN_DIR, RUN_DIR)

    # logs

    def log_path(self, filename):
        found = self.options(filename)
        return found.get('logto2') or found.get('logto') or '/var/log/uwsgi/%s.log' % split_extension(filename)[0]

    def log_size(self, filename):
        try:
            return os.stat(self.log_path(filename)).st_size
        except OSError:
            return 0

    def log_lines(self, filename, offset=0):
        """(path, lines) of a vassal's log, the last 32 KiB of it, not before the byte `offset`."""
        path = self.log_path(filename)
        return path, self.hide(filename, read_lines(path, offset))

    def defect(self, filename, offset):
        """Why a vassal that accepts requests will answer none of them well, None where its log has nothing against it."""
        lines = last_start(self.log_lines(filename, offset)[1])
        return find_defect(lines, any(option in self.options(filename) for option in APPLICATION_OPTIONS))

    def story(self, filename, since, offset=0, dying=False):
        """(where, lines, reason): what a vassal's log, or else the unit's journal, says since a time.

        offset: where its log ended at that time, None where that is not known.
        dying: whether it was dying already, and may not have been started since: then what it said shortly before counts, too.
        """
        path, lines = self.log_lines(filename, offset or 0)
        if offset is None:
            lines = recent(lines, since) if self._logged(path) >= since else []
        lines = telling_start(lines)
        reason = find_reason(lines)
        if reason and reason.startswith('chdir(): '):
            # 2.0.7 does not say where to
            reason = 'chdir() to %s: %s' % (visible(self.options(filename).get('chdir', '?')), reason[len('chdir(): ') :])
        if reason:
            return path, lines, reason
        unit = self.journal_of(filename)
        command = ['journalctl', '--no-pager', '-q', '-o', 'cat', '-n', '200', '--since', '@%d' % since, '-u', unit]
        user = self.identity(filename)[0]
        if user is not None:
            # another application may write lines to the journal, too, and for systemd they come from the same unit
            command += ['_UID=%d' % one for one in sorted(set([0, user]))]
        rc, out, dummy = self.run_command(command)
        # what _unit_verbs.why() has said is there, too
        journal = [line for line in visible_lines(out) if line.strip() and ' gives the Reason: ' not in line] if rc == 0 else []
        journal = self.hide(filename, journal)
        # the journal is everybody's: only what follows a start of this vassal is about it, and the last one may only have begun
        begun = [index for index, line in enumerate(journal) if 'configuration from %s' % filename in line]
        if begun:
            parts = [journal[index:following] for index, following in zip(begun, begun[1:] + [None])]
            journal = next((part for part in reversed(parts) if find_reason(part)), parts[-1])
        else:
            journal = [line for line in journal if filename in line]
        if find_reason(journal):
            return 'journalctl -u %s' % unit, journal, find_reason(journal)
        if dying and self._logged(path) > max(since - THROTTLE, time.time() - (_processes.age(self.emperor) or 0)):
            # its log tells, if this Emperor's vassals wrote it
            former = telling_start(recent(self.log_lines(filename)[1], since - THROTTLE))
            if find_reason(former):
                return path, former, find_reason(former)
        if journal and not lines:
            return 'journalctl -u %s' % unit, journal, None
        return path, lines, None

    @staticmethod
    def _logged(path):
        """When something was written to a log last, in seconds since the epoch; 0 where there is none."""
        try:
            return os.lstat(path).st_mtime
        except OSError:
            return 0
