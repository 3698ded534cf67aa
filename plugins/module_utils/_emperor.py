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

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import struct
import tempfile
import time

from ansible.module_utils.common.text.converters import to_bytes, to_native, to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import (
    EXTENSIONS,
    Situation,
    VassalError,
    complaints,
    find_defect,
    find_reason,
    since_last_start,
    split_extension,
)

RUN_DIR = '/run/uwsgi'
STATS = '/run/uwsgi-emperor/stats.socket'
APPLICATION_OPTIONS = ('wsgi-file', 'file', 'module', 'wsgi', 'mount', 'rack', 'psgi', 'paste', 'ini-paste')
SOCKET_OPTIONS = ('socket', 'uwsgi-socket', 'http-socket', 'fastcgi-socket', 'scgi-socket')
_MARK = '--uwsgi-emperor--'
# A master of two or more workers that is told to stop in its first instants may wait out the mercy for one of them.
SETTLE = 0.5
_TICKS = float(os.sysconf('SC_CLK_TCK'))
monotonic = getattr(time, 'monotonic', time.time)


def _read(path, limit=1 << 20):
    """The bytes of a file of root's or the kernel's, None where it can't be read."""
    try:
        with open(path, 'rb') as handle:
            return handle.read(limit)
    except (IOError, OSError):
        return None


def process(pid):
    """(parent's PID, start in clock ticks since boot) of a living process, None for a dead one."""
    data = _read('/proc/%d/stat' % pid)
    if not data:
        return None
    fields = data[data.rindex(b')') + 2 :].split()
    if fields[0] in (b'Z', b'X'):
        return None
    return int(fields[1]), int(fields[19])


def children(pid):
    """The PIDs of a process's living children."""
    data = _read('/proc/%d/task/%d/children' % (pid, pid))
    if data is None:
        if process(pid) is None:
            return []
        candidates = [int(entry) for entry in os.listdir('/proc') if entry.isdigit()]
    else:
        candidates = [int(child) for child in data.split()]
    return [child for child in candidates if (process(child) or (None,))[0] == pid]


def age(pid):
    """Seconds since a process was started, None for a dead one."""
    found = process(pid)
    uptime = _read('/proc/uptime')
    if not found or not uptime:
        return None
    return float(uptime.split()[0]) - found[1] / _TICKS


def arguments(pid):
    return [to_native(arg) for arg in (_read('/proc/%d/cmdline' % pid) or b'').split(b'\0')[:-1]]


def connect(address, timeout):
    """A connected socket to PATH, HOST:PORT or :PORT."""
    if address.startswith(('/', '@')):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target = '\0' + address[1:] if address.startswith('@') else address
    else:
        host, dummy, port = address.rpartition(':')
        host = host.strip('[]')
        if host in ('', '0.0.0.0', '*'):
            host = '127.0.0.1'
        elif host == '::':
            host = '::1'
        connection = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_STREAM)
        target = (host, int(port))
    connection.settimeout(timeout)
    try:
        connection.connect(target)
    except Exception:
        connection.close()
        raise
    return connection


def listener(connection):
    """The PID that called listen() on the other end of a UNIX connection, 0 where the kernel does not tell."""
    if connection.family != socket.AF_UNIX:
        return 0
    return struct.unpack('3i', connection.getsockopt(socket.SOL_SOCKET, getattr(socket, 'SO_PEERCRED', 17), 12))[0]


def hangs_up(address, pid, timeout=0.2):
    """Whether a worker accepts on the address: it closes a connection on which nothing is sent.

    No request is made by this and no line is logged. None says that the address is not this process's.
    """
    try:
        connection = connect(address, timeout)
    except (IOError, OSError, ValueError):
        return None
    try:
        if listener(connection) not in (0, pid):
            return None
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(1) == b''
    except (IOError, OSError):
        return False
    finally:
        connection.close()


def request(address, pid, path, host, timeout):
    """Sends one GET over the uwsgi protocol; returns (status, first bytes of the answer) or raises VassalError."""
    path, dummy, query = path.partition('?')
    variables = [
        ('REQUEST_METHOD', 'GET'), ('REQUEST_URI', path + (query and '?' + query)), ('PATH_INFO', path),
        ('QUERY_STRING', query), ('SCRIPT_NAME', ''), ('SERVER_PROTOCOL', 'HTTP/1.1'), ('HTTP_HOST', host),
        ('SERVER_NAME', host), ('SERVER_PORT', '80'), ('REMOTE_ADDR', '127.0.0.1'), ('CONTENT_LENGTH', ''),
        ('CONTENT_TYPE', ''), ('HTTP_USER_AGENT', 'uwsgi_vassal probe'),
    ]  # fmt: skip
    body = b''
    for key, value in variables:
        for item in (to_bytes(key), to_bytes(value)):
            body += struct.pack('<H', len(item)) + item
    answer = b''
    try:
        connection = connect(address, timeout)
        try:
            if listener(connection) not in (0, pid):
                raise VassalError('%s is not a socket of process %d' % (address, pid))
            connection.sendall(struct.pack('<BHB', 0, len(body), 0) + body)
            while len(answer) < 4096:
                data = connection.recv(4096)
                if not data:
                    break
                answer += data
        finally:
            connection.close()
    except (IOError, OSError, ValueError) as error:
        raise VassalError('the request for %s on %s failed: %s' % (path, address, to_native(error)))
    words = answer.split(b'\r\n', 1)[0].split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        raise VassalError('the request for %s on %s got no HTTP answer' % (path, address))
    return int(words[1]), answer


def read_stats(address, pid):
    """The JSON document of a stats socket of the process, None where there is none that is its own."""
    try:
        connection = connect(address, 5)
    except (IOError, OSError, ValueError):
        return None
    try:
        if listener(connection) not in (0, pid):
            return None
        data = b''
        while True:
            part = connection.recv(65536)
            if not part:
                break
            data += part
    except (IOError, OSError):
        return None
    finally:
        connection.close()
    if data.startswith(b'HTTP') and b'\r\n\r\n' in data:
        data = data.split(b'\r\n\r\n', 1)[1]
    try:
        stats = json.loads(to_text(data, errors='surrogate_or_replace'))
    except ValueError:
        return None
    return stats if isinstance(stats, dict) and stats.get('pid') == pid else None


def owner(pid):
    """The user ID of a process, None for a dead one."""
    try:
        return os.stat('/proc/%d' % pid).st_uid
    except OSError:
        return None


def resident(pid):
    """The resident memory of a process in bytes, 0 for a dead one."""
    fields = (_read('/proc/%d/statm' % pid) or b'0 0').split()
    return int(fields[1]) * os.sysconf('SC_PAGESIZE')


def real(path):
    return os.path.realpath(path)


class View(object):
    """One look at the Emperor: the vassals' PIDs, and what the stats say where there are any."""

    def __init__(self, pids, stats, blacklist):
        self.pids = pids  # file name -> PID
        self.stats = stats  # file name -> the vassal's entry; None without a stats socket
        self.blacklist = blacklist  # file name -> attempts that failed


class Host(object):
    """The Emperor of one unit and the directories of its vassals.

    run_command takes a list of arguments (and cwd=) and returns (rc, stdout, stderr), as AnsibleModule.run_command().
    """

    def __init__(self, run_command, unit, available_dir, enabled_dir, defaults):
        self.run_command = run_command
        self.unit = unit if '.' in unit else unit + '.service'
        self.available_dir = available_dir.rstrip('/')
        self.enabled_dir = enabled_dir.rstrip('/')
        self.defaults = defaults
        self.emperor = None  # PID
        self.why_down = None
        self.settings = {}
        self.stats_address = None
        self._options = {}
        self._find_emperor()

    # the Emperor

    def _find_emperor(self):
        try:
            rc, out, err = self.run_command(
                ['systemctl', 'show', '-p', 'LoadState', '-p', 'ActiveState', '-p', 'SubState', '-p', 'MainPID', '-p', 'Result', self.unit]
            )
        except (IOError, OSError) as error:
            rc, out, err = 127, '', to_native(error)
        facts = dict(line.split('=', 1) for line in out.splitlines() if '=' in line)
        if rc != 0 or not facts:
            self.why_down = 'systemd does not answer (%s)' % (err.strip() or 'systemctl ended with %d' % rc)
            return
        main = int(facts.get('MainPID') or 0)
        if not main or process(main) is None:
            active = facts.get('ActiveState', 'unknown')
            if facts.get('LoadState') == 'not-found':
                self.why_down = 'there is no unit %s; the role uwsgi.emperor.emperor installs it' % self.unit
            elif (active, facts.get('SubState')) == ('active', 'exited'):
                self.why_down = '%s is an init script (active, exited), no Emperor; the role uwsgi.emperor.emperor replaces it' % self.unit
            else:
                self.why_down = '%s is %s (%s); start it with: systemctl start %s' % (self.unit, active, facts.get('Result') or '?', self.unit)
            return
        self._find_settings(main)
        wanted = real(self.enabled_dir)
        end = monotonic() + 2
        seen = []
        while True:
            # systemd calls the unit started before the Emperor has entered its directory
            for pid in [main] + children(main):
                try:
                    seen.append(os.readlink('/proc/%d/cwd' % pid))
                except OSError:
                    continue
                if seen[-1] == wanted and not split_extension(self._vassal_of(pid) or ''):
                    self.emperor = pid
                    break
            directory = self.settings.get('emperor') or ''
            if not self.emperor and real(os.path.dirname(directory)) == wanted and '*' in os.path.basename(directory):
                self.emperor = main
            if self.emperor or monotonic() > end:
                break
            time.sleep(0.05)
        if not self.emperor:
            self.why_down = "the process of %s watches %s, not %s; set enabled_dir to the Emperor's directory" % (
                self.unit,
                directory or ', '.join(sorted(set(seen))) or 'no directory',
                self.enabled_dir,
            )
            return
        self._find_stats()

    def _find_settings(self, main):
        """What the Emperor's own configuration says, asked of uWSGI itself: --get prints a value and starts nothing."""
        argv = arguments(main)
        if len(argv) < 2:
            return
        try:
            binary = os.readlink('/proc/%d/exe' % main).replace(' (deleted)', '')
        except OSError:
            binary = argv[0]
        self.binary = binary
        self.settings = self._get(
            [binary] + argv[1:],
            ['emperor', 'emperor-stats', 'emperor-stats-server', 'vassals-include', 'vassals-inherit', 'emperor-graceful-shutdown'],
            '/',
        )

    binary = '/usr/bin/uwsgi-core'

    def _get(self, command, options, cwd):
        argv = list(command)
        # an option that is not set prints nothing, a flag an empty line: marks keep the values apart
        argv += ['--set', 'uwsgi-vassal-mark=' + _MARK]
        for option in options:
            argv += ['--get', 'uwsgi-vassal-mark', '--get', option]
        try:
            rc, out, dummy = self.run_command(argv, cwd=cwd)
        except (IOError, OSError):
            return {}
        parts = out.split(_MARK + '\n')[1:]
        if rc != 0 or len(parts) != len(options):
            return {}
        return dict((option, part.rstrip('\n')) for option, part in zip(options, parts) if part)

    def options(self, filename, names):
        """The values that a vassal's file and the defaults give to options, by uWSGI's own parser; {} if it can't read them."""
        known = self._options.setdefault(filename, {})
        if not all(name in known for name in names):
            directory = self.enabled_dir if os.path.exists('%s/%s' % (self.enabled_dir, filename)) else self.available_dir
            found = self._get(self._command(filename), names, directory)
            for name in names:
                known[name] = found.get(name)
        return dict((name, known[name]) for name in names if known[name] is not None)

    def included(self):
        """The files that the Emperor adds to a vassal's own, as uWSGI's arguments in pairs."""
        given = [('--include', self.defaults)]
        if self.emperor:
            given = [('--inherit', self.settings.get('vassals-inherit')), ('--include', self.settings.get('vassals-include'))]
        return [(option, value) for option, value in given if value and os.path.exists(value)]

    def _command(self, filename):
        """The arguments with which the Emperor starts a vassal."""
        ending = os.path.splitext(filename)[1]
        command = [self.binary, {'.xml': '--xml', '.ini': '--ini', '.js': '--json', '.json': '--json'}.get(ending, '--yaml'), filename]
        for pair in self.included():
            command += pair
        return command

    def lint(self, filename, text=None):
        """What is wrong with a vassal's file, or with the text that it would get, as uWSGI reads it; nothing is started."""
        if not os.path.exists(self.binary):
            return []
        directory = self.enabled_dir if os.path.exists('%s/%s' % (self.enabled_dir, filename)) else self.available_dir
        if text is None:
            rc, dummy, err = self.run_command(self._command(filename) + ['--get', 'socket'], cwd=directory)
            return complaints(rc, err)
        staged = tempfile.mkdtemp(prefix='uwsgi_vassal-')
        try:
            with open('%s/%s' % (staged, filename), 'wb') as handle:
                handle.write(text)
            command = self._command(filename) + ['--get', 'socket']
            rc, dummy, err = self.run_command(command, cwd=staged)
            found = complaints(rc, err)
            if not found:
                rc, dummy, err = self.run_command(command[:1] + ['--strict'] + command[1:], cwd=staged)
                found = complaints(rc, err, to_native(text, errors='surrogate_or_replace'))
            return found
        finally:
            shutil.rmtree(staged)

    def _find_stats(self):
        for address in (STATS, self.settings.get('emperor-stats'), self.settings.get('emperor-stats-server')):
            if address and self._read_stats(address):
                self.stats_address = address
                return

    def _read_stats(self, address):
        return read_stats(address, self.emperor)

    def stats(self):
        return self._read_stats(self.stats_address) if self.stats_address else None

    def wake(self):
        """Lets the Emperor look at its directory now. A connection to its stats has done that already."""
        self._signal_emperor(signal.SIGWINCH)

    def forgive(self):
        """Clears the Emperor's blacklist, on which a vassal that died before its first request waits for seconds."""
        self._signal_emperor(signal.SIGURG)

    def _signal_emperor(self, number):
        if self.emperor and process(self.emperor):
            # its handler frees memory: let it not interrupt an allocation, only sleep
            end = monotonic() + 0.5
            while number == signal.SIGURG and monotonic() < end:
                data = _read('/proc/%d/stat' % self.emperor) or b')  S'
                if data[data.rindex(b')') + 2 :][:1] == b'S':
                    break
                time.sleep(0.001)
            self._kill(self.emperor, number)

    @staticmethod
    def _kill(pid, number):
        try:
            os.kill(pid, number)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise VassalError('Process %d can not be signalled: %s; root is needed (become: true).' % (pid, to_native(error)))

    # vassals

    def _vassal_of(self, pid):
        """The file name of the vassal that a child of the Emperor's runs, by its command line."""
        for argument in arguments(pid)[1:]:
            directory, base = os.path.split(argument)
            if split_extension(base) and (not directory or (self.emperor and directory.rstrip('/') == self.enabled_dir)):
                return base
        return None

    def look(self, wake=True):
        """One View. A connection to its stats wakes the Emperor; without stats, and with `wake`, SIGWINCH does."""
        if not self.emperor or not process(self.emperor):
            return View({}, None, {})
        pids = {}
        stats = self.stats()
        if stats is not None:
            entries = {}
            for entry in stats.get('vassals', []):
                name = os.path.basename(entry['id'])
                found = process(entry['pid']) if entry['pid'] > 0 else None
                if found and found[0] == self.emperor:
                    entries[name] = entry
                    pids[name] = entry['pid']
            blacklist = dict((os.path.basename(entry['id']), entry.get('attempt', 0)) for entry in stats.get('blacklist', []))
            return View(pids, entries, blacklist)
        if wake:
            self.wake()
        for pid in children(self.emperor):
            name = self._vassal_of(pid)
            if name:
                if name in pids:
                    raise VassalError('%s: both process %d and %d of the Emperor run it; one of them forged its name.' % (name, pids[name], pid))
                pids[name] = pid
        return View(pids, None, {})

    def signal_vassal(self, filename, pid, number):
        """Signals a vassal's master, after a last look that it still is a child of the Emperor."""
        found = process(pid)
        if found and found[0] == self.emperor:
            self._kill(pid, number)

    def addresses(self, filename):
        """Where a vassal may listen: the path of the layout, and (asked for only if it isn't there) what its configuration says."""
        yield '%s/%s.socket' % (RUN_DIR, split_extension(filename)[0])
        found = self.options(filename, SOCKET_OPTIONS)
        for option in SOCKET_OPTIONS:
            if option in found:
                yield found[option]

    def accepts(self, filename, pid, view, asked=False):
        """Whether a vassal accepts requests: by the Emperor's stats, or (without them, or when asked) on its socket."""
        if view.stats is not None:
            entry = view.stats.get(filename, {})
            if not entry.get('accepting') or entry.get('cursed'):
                return False
            if not asked:
                return True
        for address in self.addresses(filename):
            answer = hangs_up(address, pid)
            if answer is not None:
                return answer
        # it listens where we can't ask; its stats, or that it has had workers for a while, must do
        return view.stats is not None or any((age(worker) or 0) > SETTLE for worker in children(pid))

    def version(self):
        """The version of the uWSGI that the Emperor runs, None where it does not say."""
        rc, out, dummy = self.run_command([self.binary, '--version'])
        return out.strip() if rc == 0 and out.strip() else None

    def is_stale(self, situation, watch=()):
        """Whether a vassal's file, the defaults or a path in `watch` is newer than its oldest worker, which is as old as its configuration."""
        ages = [one for one in map(age, situation.workers) if one is not None]
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
        """The names of all vassals that have a file or a link."""
        names = set()
        for directory in (self.available_dir, self.enabled_dir):
            try:
                entries = os.listdir(directory)
            except OSError:
                continue
            names.update(split_extension(to_text(entry))[0] for entry in entries if split_extension(to_native(entry)))
        return names

    def situation(self, name, view):
        """The Situation of one vassal."""
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
        text = _read(available) if os.path.isfile(available) else None
        if text is None and os.path.lexists(available) and not os.path.islink(available):
            raise VassalError('%s: %s can not be read as a file; root is needed (become: true).' % (name, available))
        link = target = None
        if os.path.islink(enabled):
            target = '%s -> %s' % (enabled, os.readlink(enabled))
            if real(enabled) == real(available):
                link = 'right' if text is not None else 'dangling'
            else:
                link = 'wrong' if os.path.exists(enabled) else 'dangling'
        elif os.path.lexists(enabled):
            link, target = 'file', enabled
            text = _read(enabled)
        pid = view.pids.get(filename)
        workers = children(pid) if pid else []
        accepting = bool(pid and workers) and self.accepts(filename, pid, view)
        mtime = None if text is None else os.stat(enabled if link == 'file' else available).st_mtime
        return Situation(name, extension, text, link, target, pid, workers, accepting, available, mtime)

    def write(self, filename, text, mtime):
        """Puts a file in place by one rename, with the modification time `mtime`; owner and mode stay those of the former file."""
        path = '%s/%s' % (self.available_dir, filename)
        path = real(path)
        mode, owner = 0o644, None
        try:
            found = os.stat(path)
            mode, owner = stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)
        except OSError:
            pass
        descriptor, temporary = tempfile.mkstemp(prefix='.%s.' % filename, suffix='.new', dir=os.path.dirname(path))
        try:
            with os.fdopen(descriptor, 'wb') as handle:
                handle.write(text)
                handle.flush()
                os.fchmod(handle.fileno(), mode)
                if owner:
                    os.fchown(handle.fileno(), *owner)
                os.fsync(handle.fileno())
            os.utime(temporary, (mtime, mtime))
            os.rename(temporary, path)
        except Exception:
            os.unlink(temporary)
            raise

    def mtime(self, filename):
        """The time of the file that the Emperor compares, 0 where there is none."""
        for directory in (self.enabled_dir, self.available_dir):
            try:
                return int(os.stat('%s/%s' % (directory, filename)).st_mtime)
            except OSError:
                continue
        return 0

    def link(self, filename):
        path = '%s/%s' % (self.enabled_dir, filename)
        target = '%s/%s' % (self.available_dir, filename)
        if os.path.dirname(self.available_dir) == os.path.dirname(self.enabled_dir):
            target = '../%s/%s' % (os.path.basename(self.available_dir), filename)
        temporary = '%s/.%s.%d.link' % (self.enabled_dir, filename, os.getpid())
        os.symlink(target, temporary)
        os.rename(temporary, path)

    def unlink(self, filename):
        self._remove('%s/%s' % (self.enabled_dir, filename))

    def remove(self, filename):
        """Removes a vassal's file and what it left in the runtime directory. Its log stays."""
        self._remove('%s/%s' % (self.available_dir, filename))
        for ending in ('socket', 'pid', 'fifo', 'stats'):
            self._remove('%s/%s.%s' % (RUN_DIR, split_extension(filename)[0], ending))

    def delete_available(self, filename):
        self._remove('%s/%s' % (self.available_dir, filename))

    @staticmethod
    def _remove(path):
        try:
            os.unlink(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def lock(self, timeout):
        """Holds off other runs on this host while this one changes something; raises VassalError after `timeout` seconds."""
        descriptor = os.open(self.enabled_dir, os.O_RDONLY)
        end = monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except (IOError, OSError) as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
                    raise
                if monotonic() > end:
                    raise VassalError('Another run of uwsgi_vassal has held %s for %d s; nothing was changed.' % (self.enabled_dir, timeout))
                time.sleep(0.05)

    # logs

    def log_path(self, filename):
        found = self.options(filename, ['logto', 'logto2'])
        return found.get('logto2') or found.get('logto') or '/var/log/uwsgi/%s.log' % split_extension(filename)[0]

    def log_size(self, filename):
        try:
            return os.stat(self.log_path(filename)).st_size
        except OSError:
            return 0

    def log_lines(self, filename, offset=0):
        """(path, lines) of a vassal's log, from its last start on, not before the byte `offset`."""
        path = self.log_path(filename)
        lines = []
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, 'rb') as handle:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    handle.seek(0, 2)
                    size = handle.tell()
                    handle.seek(max(size - 32768, offset if size >= offset else 0))
                    lines = to_native(handle.read(32768), errors='surrogate_or_replace').splitlines()
        except (IOError, OSError):
            pass
        return path, [line for line in since_last_start(lines) if line.strip()]

    def defect(self, filename, offset):
        """Why a vassal that accepts requests will answer none of them well, None where its log has nothing against it."""
        lines = self.log_lines(filename, offset)[1]
        suspicious = any('no app loaded' in line for line in lines)
        return find_defect(lines, suspicious and bool(self.options(filename, APPLICATION_OPTIONS)))

    def forget(self, filename):
        """Its file has changed: its options have to be read again."""
        self._options.pop(filename, None)

    def story(self, filename, since, offset=0):
        """(where, lines, reason): what a vassal's log, or else the unit's journal, says since a time."""
        path, lines = self.log_lines(filename, offset)
        reason = find_reason(lines)
        if reason:
            return path, lines, reason
        rc, out, dummy = self.run_command(['journalctl', '--no-pager', '-q', '-o', 'cat', '-n', '200', '--since', '@%d' % since, '-u', self.unit])
        journal = [line for line in out.splitlines() if line.strip()] if rc == 0 else []
        # the journal is everybody's: only the part from this vassal's last start on is about it
        for index in range(len(journal) - 1, -1, -1):
            if 'configuration from %s' % filename in journal[index]:
                journal = journal[index:]
                break
        else:
            journal = [line for line in journal if filename in line]
        if journal and (not lines or find_reason(journal)):
            return 'journalctl -u %s' % self.unit, journal, find_reason(journal)
        return path, lines, None
