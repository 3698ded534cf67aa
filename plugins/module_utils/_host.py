# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A host's vassals: a supervisor, the files and their configurations put together, as the options of the modules describe them.

A long file, as whether a vassal accepts requests and why one failed takes all of these at once.

The words of this collection: a *situation* is how a vassal is, a *plan* what is to be done for a state, a *job* one vassal's plan under way, a
*snapshot* what the supervisor knows at one moment. A *mark* says to systemd that a vassal of an Emperor accepts requests, and *agreed* are the
names of which link and unit were the same. uWSGI's own: a vassal is *loyal* once it has accepted requests for a while, *cursed* when it is to
end, and on the *blacklist* when it died before its first request.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import functools
import os
import pwd
import signal
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _environment, _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._acceptance import CONNECTED, QUEUED, UNASKED, accepts
from ansible_collections.uwsgi.emperor.plugins.module_utils._access import runs_as_another
from ansible_collections.uwsgi.emperor.plugins.module_utils._alterable import alterable, open_by, open_by_default, open_to
from ansible_collections.uwsgi.emperor.plugins.module_utils._configuration import APPLICATION_OPTIONS, SOCKETS, UWSGI_SOCKETS
from ansible_collections.uwsgi.emperor.plugins.module_utils._emperor import Emperor
from ansible_collections.uwsgi.emperor.plugins.module_utils._files import OWN_DIRS, RUN_DIR, Files, usual_socket
from ansible_collections.uwsgi.emperor.plugins.module_utils._log import (
    find_failed_hook,
    find_missing_application,
    find_reason,
    last_failed_start,
    read_lines,
    recent,
)
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import monotonic, read
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import Connection
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import TimedOut, bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import Systemd, supervises
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import shortened, to_native, visible, visible_lines
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import EXTENSIONS, Situation, VassalError, is_set, split_extension

# In seconds, for one systemctl of a module that has no timeout of its own.
SYSTEMCTL = 60
# Lines of a log that are quoted.
QUOTED = 12
# A master of two or more workers that is stopped in its first instants may wait for one of them until worker-reload-mercy is over.
SETTLE = 0.5
# The Emperor delays the next start of a vassal that dies by three minutes at the most; here is some time more for it to fail.
THROTTLE = 240


def layout_spec():
    """The options that say where things are on a host, as an argument spec; the fragment uwsgi.emperor.layout describes them."""
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
    kind = params['supervisor']
    if kind == 'auto':
        # the units are for the role's layout
        own = all(params[option] == spec[option]['default'] for option in spec)
        kind = 'systemd' if own and supervises() else 'emperor'
    run_command = bounded(run_command, max(1, params.get('timeout') or SYSTEMCTL))
    files = Files(params['available_dir'], params['enabled_dir'])
    supervisor = dict(emperor=Emperor, systemd=Systemd)[kind](run_command, params['unit'], files, params['defaults'])
    supervisor.find()
    return Host(supervisor)


class Host(object):
    """A supervisor, and the files of its vassals."""

    def __init__(self, supervisor):
        self.supervisor = supervisor
        self.files = supervisor.files
        self.configurations = supervisor.configurations

    # how its vassals are

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
            if any(os.path.lexists('%s/%s%s' % (directory, name, extension)) for directory in (self.files.available_dir, self.files.enabled_dir))
        ]
        if len(extensions) > 1:
            raise VassalError('%s: there are files for it with the endings %s; only one can be meant.' % (name, ', '.join(extensions)))
        extension = extensions[0] if extensions else '.ini'
        filename = name + extension
        available = '%s/%s' % (self.files.available_dir, filename)
        enabled = '%s/%s' % (self.files.enabled_dir, filename)
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
            own = read(enabled)
            copied = own is not None and own == text and not self.files.shared and not os.path.islink(available)
            link, target, path, text = 'copy' if copied else 'file', enabled, enabled, own
        if self.supervisor.half_enabled(name, link):
            link = 'dangling'
        pid = view.pids.get(filename)
        workers = _processes.workers(pid) if pid else []
        if pid and not workers and self.masterless(filename):
            workers = [pid]
        mtime = None if text is None else os.stat(path).st_mtime
        env = self.files.env_path(filename)
        return Situation(
            name, extension, text, link, target, pid, workers, path=path, mtime=mtime, shared=self.files.shared,
            access=_files.access(path), credentials=_processes.credentials(pid) if pid else None, env=read(env), env_access=_files.access(env),
            unfinished=self._unfinished(filename) if pid else None, leaving=not (pid or link) and self.supervisor.leaves(filename, float('inf')),
        )  # fmt: skip

    def _unfinished(self, filename):
        """How a change of a vassal's file that a run was killed in is to be taken up, None where no process runs the previous file."""
        mode, processes = self.files.noted(filename) or (None, [])
        alive = _processes.starts(pid for pid, dummy in processes)
        return mode if any(alive.get(pid) == start for pid, start in processes) else None

    @staticmethod
    def changed_since_start(situation):
        """Whether something of a vassal's file has changed since its master was started, by the time that nobody can set."""
        age = _processes.age(situation.pid) if situation.pid and situation.text is not None else None
        try:
            return age is not None and os.stat(situation.path).st_ctime > time.time() - age
        except OSError:
            return False

    def is_stale(self, situation, watch=()):
        """Whether a vassal's file, the defaults or a path in `watch` is newer than what its processes run, None where nobody can tell.

        That is so without workers, where one is newer than its master, which may have reloaded since, as no run of ours has noted.
        """
        if situation.unfinished or self.changed_since_start(situation) and runs_as_another(situation, self.identity(situation.filename)):
            return True
        age = _processes.age(situation.pid or 0)
        if age is None:
            return True
        ages = [one for one in map(_processes.age, situation.workers) if one is not None]
        times = ([time.time() - max(ages)] if ages else []) + self._loaded(situation)
        started = min(times or [time.time() - age])
        for path in [situation.path] + [value for dummy, value in self.supervisor.included()] + list(watch):
            try:
                if os.stat(path).st_mtime > started:
                    return True if times else None
            except OSError:
                continue
        return False

    def note_loaded(self, situation, seconds):
        """Notes the age of the code and configuration of a vassal that has come up: later its master makes other workers of what it has loaded.

        seconds: how long ago it came up; without workers it had loaded them by then.
        """
        life, ages = _processes.life(situation.pid), [one for one in map(_processes.age, situation.workers) if one is not None]
        if life:
            self._note(situation, life, time.time() - max(ages or [seconds]))

    def _loaded(self, situation):
        """When the master of a vassal has loaded what its workers are made of, in seconds since the epoch, as a list; [] where nobody knows.

        Workers that load it themselves are as old as that.
        """
        options = self.configurations.options(situation.filename)
        if situation.workers and (is_set(options, 'lazy-apps') or is_set(options, 'lazy')):
            return []
        life = _processes.life(situation.pid)
        noted, dummy, seconds = self.files.loaded(situation.filename)
        if life and noted == life:
            return [seconds]
        age = _processes.age(situation.pid)
        # a start loads it once; when a reload was that nobody has noted can't be told, nor when one was that has ended since
        return [time.time() - age] if life and not life[2] and age is not None else []

    def masterless(self, filename):
        """Whether a vassal runs without a master process, so that its only process is its worker."""
        options = self.configurations.options(filename)
        return bool(options) and not is_set(options, 'master')

    def asleep(self, filename, pid):
        """Whether a vassal has no workers because it makes them when somebody connects."""
        return not _processes.workers(pid) and any(is_set(self.configurations.options(filename), option) for option in ('cheap', 'idle'))

    @staticmethod
    def settled(pid):
        """Whether a worker of the vassal is out of its first instants."""
        return any((_processes.age(worker) or 0) > SETTLE for worker in _processes.workers(pid) or [pid])

    def _accepting(self, pids, view):
        """The file names, of `pids`, of vassals that accept requests. All of them are asked at once."""
        result = set()
        asked = {}
        for filename, pid in pids.items():
            told, asleep = view.accepting(filename), self.asleep(filename, pid)
            # who sleeps would be woken, and of who is told not to accept nobody asks more
            connection = None if asleep or told is False else self.connect(filename, pid)
            state = UNASKED if connection is None else connection.state
            if accepts(told, asleep, state, functools.partial(self.settled, pid)):
                result.add(filename)
            elif state in (QUEUED, CONNECTED):
                asked[filename] = connection
        end = monotonic() + 0.2
        while asked and monotonic() < end:
            for filename in [filename for filename in asked if asked[filename].poll()]:
                if not asked.pop(filename).problem:
                    result.add(filename)
            time.sleep(0.002)
        return result

    def _addresses(self, filename, options):
        """Where a vassal may listen: the path of the layout, and (asked for only if it isn't there) what its configuration says."""
        usual = usual_socket(filename)
        there = os.path.exists(usual)
        if there:
            yield usual
        found = self.configurations.options(filename)
        for option in options:
            if option in found and not (there and found[option] == usual):
                yield found[option]

    def connect(self, filename, pid, message=None):
        """A Connection on the first of a vassal's sockets that is its own, or about why there is none; None where it names no socket."""
        connection = None
        for address in self._addresses(filename, SOCKETS if message is None else UWSGI_SOCKETS):
            connection = Connection(address, (pid, self.supervisor.pid), message)
            connection.poll()
            if not connection.problem:
                break
        return connection

    def lost_socket(self, filename):
        """Whether a vassal's configuration names the socket of the layout, and that is not there."""
        usual = usual_socket(filename)
        if os.path.lexists(usual):
            return False
        found = self.configurations.options(filename)
        return any(found.get(option) == usual for option in SOCKETS)

    # what is done with them

    def write(self, filename, text, mtime, access=None):
        """Files.write(); what runs by the file reads it again."""
        self.files.write(filename, text, mtime, access)
        self.configurations.wrote(filename, text)

    def link(self, filename):
        """Enables a vassal."""
        self.files.link(filename)
        self.supervisor.linked(filename)

    def unlink(self, filename):
        """Disables a vassal."""
        self.files.unlink(filename)
        self.supervisor.unlinked(filename)

    def remove(self, filename):
        """Removes the file of a vassal that has ended, and what it left in the runtime directory. Its log stays."""
        self.supervisor.end_rest(filename)
        self.files.delete_all(filename)
        self.supervisor.removed(filename)

    def send_hangup(self, filename, pid):
        """Sends SIGHUP: a master finishes the requests and then starts again; without a master each process ends."""
        self.supervisor.signal_workers(pid, _processes.family(pid) if self.masterless(filename) else [pid], signal.SIGHUP)

    def tell_fifo(self, filename, pid, command):
        """Writes a command to a vassal's master-fifo, once that is proved to be one which its master holds open.

        The master makes it when its workers accept requests already, and again after each command: for a moment it may not be there.
        """
        path = self.configurations.options(filename)['master-fifo']
        end = monotonic() + SETTLE
        while True:
            problem = _processes.write_fifo(pid, path, command)
            if not problem:
                return
            if monotonic() > end:
                raise VassalError('%s %s' % (path, problem))
            time.sleep(0.01)

    def note_change(self, filename, mode, pids):
        """Notes that a vassal's file is about to change and which processes run the previous one, for a run after one that is killed."""
        self.files.note(filename, mode, sorted(_processes.starts(pids).items()))

    def clear_own_dir(self, filename):
        """Files.clear_own_dir() for the user as which the vassal is about to run, if that can be told."""
        uid = self.identity(filename)[0]
        if uid is not None:
            self.files.clear_own_dir(filename, uid)

    def leave_log(self, situation):
        """Moves the log of a vassal away that is about to run as another user than before.

        What processes of the previous user have it open could read what the next one's application writes, and write there.
        """
        uid = self.identity(situation.filename)[0]
        was = situation.credentials[0] if situation.credentials else self.files.loaded(situation.filename)[1]
        # root keeps whatever it has
        if uid is None or was in (None, 0, uid):
            return
        try:
            user = pwd.getpwuid(was).pw_name
        except KeyError:
            user = str(was)
        self.move_log(situation.filename, user)

    def move_log(self, filename, user):
        """Moves the log of a vassal away that was this user's, by its name."""
        path = self.log_path(filename)
        if os.path.isfile(path) and not alterable(os.path.dirname(path)):
            os.rename(path, '%s.%s' % (path, user))

    def note_user(self, situation):
        """Notes as whom a vassal has run that is about to stop: somebody else may start it next, and it may have been started by nobody of ours."""
        self._note(situation, (0, 0, 0), 0)

    def _note(self, situation, life, seconds):
        if situation.credentials:
            try:
                self.files.note_loaded(situation.filename, life, situation.credentials[0], seconds)
            except (IOError, OSError):
                # it comes up or stops all the same; its workers tell their age for as long as they live
                pass

    # what may stand in the way

    def identity(self, filename, text=None):
        """(user ID, group ID) as which a vassal's file, or the text that it would get, has it run; None for what can't be told."""
        if self.supervisor.tyrant:
            return None, None
        own = self.supervisor.user()
        return (own[0], own[1][0]) if own else self.configurations.identity(filename, text)

    @property
    def _starts_as_root(self):
        """Whether a vassal's file is read by root, and not by its owner or another user."""
        return not (self.supervisor.tyrant or self.supervisor.user())

    def exposed(self, filename, text=None, env=None):
        """Configurations.exposed(), of a parent that starts vassals as root; env: the text of the file of variables that it is about to get."""
        variables = ['%s=%s' % (to_native(key), to_native(value)) for key, value in _environment.parse(env or b'').items()]
        return self.configurations.exposed(filename, text, variables) if self._starts_as_root else ([], [])

    def opened(self, path, access):
        """What a vassal's file of this access, (mode, user ID, group ID), opens to others than root: a sentence without a full stop, or None."""
        who = open_by(*access) if self._starts_as_root else None
        said = 'root reads its configuration from %s, which is not for root alone: %s. Whoever can write there becomes root. Leave it to root'
        return said % (visible(path), who) if who else None

    def check_env(self, name):
        """Raises VassalError where the defaults do not have uWSGI read the environment."""
        files = [value for dummy, value in self.supervisor.included()]
        if not any(_environment.is_read(self.files.env_dir, read(path) or b'') for path in files):
            raise VassalError(
                '%s: env needs these lines in the section [uwsgi] of %s, so that uWSGI reads the variables. Nothing was changed.\n%s'
                % (name, files[-1] if files else self.supervisor.defaults, '\n'.join('  ' + line for line in _environment.lines_needed(self.files.env_dir)))
            )

    def open_directory(self):
        """What is wrong with the runtime directory, as a sentence with the remedy; None where only root can change it."""
        try:
            found = open_to(os.lstat(RUN_DIR), RUN_DIR)
        except OSError:
            return None
        opened = [(path, who) for path, who in ((path, open_by_default(path)) for path in (RUN_DIR, OWN_DIRS)) if who]
        if opened and not found:
            paths = ' '.join(path for path, dummy in opened)
            return '%s: %s. Run: setfacl -b %s %s/*, and restart the applications.' % (opened[0] + (paths, RUN_DIR))
        return found and (
            '%s is not for root alone: %s. An application that may change it becomes root by it, as root opens and chowns sockets and '
            'pidfiles there. Set chown-socket = www-data:www-data in %s, write "d %s 0755 root root -" to /etc/tmpfiles.d/uwsgi.conf, '
            'run: chown root:root %s && chmod 0755 %s, and restart the applications.'
        ) % (RUN_DIR, found, self.supervisor.defaults, RUN_DIR, RUN_DIR, RUN_DIR)

    def version(self):
        """The version of the uWSGI that the vassals run by, None where it does not say."""
        rc, out, dummy = self.supervisor.run_command([self.configurations.binary, '--version'])
        return out.strip() if rc == 0 and out.strip() else None

    # why one failed

    def hide(self, filename, lines):
        """Lines of a log without the values of a vassal's environment, of the previous one, too."""
        hidden = []
        for path in self.files.env_path(filename), self.files.previous_env_path(filename):
            hidden += _environment.secrets(_environment.parse(read(path) or b''))
        return _environment.mask_lines(lines, hidden) if hidden else lines

    def log_path(self, filename):
        found = self.configurations.options(filename)
        return found.get('logto2') or found.get('logto') or '/var/log/uwsgi/%s.log' % split_extension(filename)[0]

    def log_size(self, filename):
        try:
            return os.stat(self.log_path(filename)).st_size
        except OSError:
            return 0

    def log_lines(self, filename, offset=0):
        """(path, lines) of a vassal's log, the last 32 KiB of it, not before the byte `offset`."""
        path = self.log_path(filename)
        return path, read_lines(path, offset)

    def flaw(self, filename, offset, pid):
        """Why a vassal that accepts requests is not up, as what goes on with "by its log it", None where that has nothing against it.

        offset: where its log ended before the change. pid: of its master.
        """
        has_application = any(option in self.configurations.options(filename) for option in APPLICATION_OPTIONS)
        lines = read_lines(self.log_path(filename), offset, whole=True)
        missing = find_missing_application(lines, _processes.family(pid), has_application, self.configurations.mountpoints(filename))
        if missing:
            return 'has not loaded its application: %s' % self._quote(filename, [missing])[0]
        failed = find_failed_hook(lines)
        return failed and 'has failed in a hook, so that it can be neither reloaded nor stopped in time: %s' % self._quote(filename, [failed])[0]

    def takes_itself_for_ending(self, filename):
        """Whether a vassal's master that runs takes itself for ending, by its log, since a hook has failed."""
        return bool(find_failed_hook(self.log_lines(filename)[1]))

    def explain_failure(self, filename, since, offset=0, dying=False):
        """(where, lines, reason): what a vassal's log, or else the unit's journal, says last since a time, as it is quoted.

        offset: where its log ended at that time, None where that is not known.
        dying: whether it was dying already, and may not have been started since: then what it said shortly before counts, too.
        """
        where, lines, reason = self._find_failure(filename, since, offset, dying)
        quoted = self._quote(filename, lines[-QUOTED:] + [reason or ''])
        return where, quoted[:-1], reason and quoted[-1]

    def _quote(self, filename, lines):
        # a value that was shortened first would not be found
        return [shortened(line) for line in self.hide(filename, lines)]

    def _find_failure(self, filename, since, offset, dying):
        path, lines = self.log_lines(filename, offset or 0)
        if offset is None:
            lines = recent(lines, since) if self._logged(path) >= since else []
        lines = last_failed_start(lines)
        reason = find_reason(lines)
        if reason and reason.startswith('chdir(): '):
            # 2.0.7 does not say where to
            reason = 'chdir() to %s: %s' % (visible(self.configurations.options(filename).get('chdir', '?')), reason[len('chdir(): ') :])
        if reason:
            return path, lines, reason
        unit = self.supervisor.journal_of(filename)
        # the last lines first, as only so much of them is taken
        command = ['journalctl', '--no-pager', '-q', '-o', 'cat', '-r', '-n', '200', '--since', '@%d' % since, '-u', unit]
        user = self.identity(filename)[0]
        if user is not None:
            # another application may write lines to the journal, too, and for systemd they come from the same unit
            command += ['_UID=%d' % one for one in sorted(set([0, user]))]
        try:
            rc, out, dummy = self.supervisor.run_command(command)
        except TimedOut:
            # what became of the vassal is told all the same
            rc, out = 1, ''
        # what _unit_verbs.explain_exit() has said is there, too
        journal = [line for line in visible_lines(out)[::-1] if line.strip() and ' gives the Reason: ' not in line] if rc == 0 else []
        # the journal is everybody's: only what follows a start of this vassal is about it, and the last one may only have begun
        begun = [index for index, line in enumerate(journal) if 'configuration from %s' % filename in line]
        if begun:
            parts = [journal[index:following] for index, following in zip(begun, begun[1:] + [None])]
            journal = next((part for part in reversed(parts) if find_reason(part)), parts[-1])
        else:
            journal = [line for line in journal if filename in line]
        if find_reason(journal):
            return 'journalctl -u %s' % unit, journal, find_reason(journal)
        if dying and self._logged(path) > max(since - THROTTLE, time.time() - (_processes.age(self.supervisor.pid) or 0)):
            # its log tells, if this Emperor's vassals wrote it
            previous = last_failed_start(recent(self.log_lines(filename)[1], since - THROTTLE))
            if find_reason(previous):
                return path, previous, find_reason(previous)
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
