# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Processes by /proc, signals to them, and commands of our own.

A PID is a number that another process may have a moment later: who signals one proves first what it is, by its parent.
A long file: what a process can forge, hide or delay of what /proc says is known here alone.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import errno
import os
import re
import signal
import stat
import subprocess
import threading
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes, to_native
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError

# What coreutils' timeout ends with when time is over: its own code, or that of a SIGKILL.
TIMED_OUT = (124, 137, -9)
# Seconds that it may take to read the memory of a process, and the threads that wait longer, by the process's (PID, start).
MEMORY_TIMEOUT = 2.0
_WAITING = {}
# The states of what has ended.
_ENDED = (b'Z', b'X')
_TICKS = float(os.sysconf('SC_CLK_TCK'))
# Python 2.7 has no clock that nobody sets.
monotonic = getattr(time, 'monotonic', time.time)


def read(path, limit=1 << 20):
    """The bytes of a file, None where it can't be read or is none: who writes a file that root has linked can put a fifo there, which nobody ever writes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, 'rb') as handle:
            return handle.read(limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except (IOError, OSError):
        return None


def _stat(pid):
    """What the kernel says of a process behind its name, or of a thread (PID/task/TID), [] where there is none."""
    data = read('/proc/%s/stat' % pid)
    return data[data.rindex(b')') + 2 :].split() if data else []


def process(pid):
    """(parent's PID, start in clock ticks since boot) of a living process, None for a dead one."""
    fields = _stat(pid)
    if not fields or fields[0] in _ENDED and all((_stat('%d/task/%s' % (pid, one)) or [b'X'])[0] in _ENDED for one in _threads(pid)):
        return None
    return int(fields[1]), int(fields[19])


def _threads(pid):
    """The threads of a process by number, as text, [] for none.

    The kernel calls a process a zombie, too, whose first thread has ended while others live; who has ended, and is traced, stays among them for ever.
    """
    try:
        return os.listdir('/proc/%d/task' % pid)
    except OSError:
        return []


def starts(pids):
    """When each of these processes that lives was started, in clock ticks since boot, by PID: the pair tells a process from any other."""
    found = [(pid, process(pid)) for pid in pids]
    return dict((pid, one[1]) for pid, one in found if one)


def state(pid):
    """The letter that the kernel gives the state of a process: b'S' asleep, b'R' running, b'Z' ended and not reaped; b'' for none at all."""
    return (_stat(pid) or [b''])[0]


def children(pid):
    """The PIDs of a process's living children."""
    return [child for child in offspring(pid) if (process(child) or (None,))[0] == pid]


def offspring(pid):
    """The PIDs of a process's children, also of those that have ended and that it has not reaped; where the kernel lists none, of any process."""
    data = read('/proc/%d/task/%d/children' % (pid, pid))
    if data is not None:
        return [int(child) for child in data.split()]
    return [int(entry) for entry in os.listdir('/proc') if entry.isdigit()] if process(pid) else []


def workers(pid):
    """The PIDs of the workers of a master of uWSGI's, also of those that still load the application.

    Its other children are none: a daemon or a command of cron has a session of its own (core/daemons.c, core/utils.c), and a mule, a spooler or a
    gateway ignores SIGTSTP (core/mule.c, core/spooler.c, core/gateway.c), by which a worker is woken. Everybody may see both.
    A command counts for the instant between the master's fork and its own session: uWSGI closes all descriptors in between (core/utils.c).
    """
    session, ignores = _session(pid), _ignores(pid, signal.SIGTSTP)
    return [child for child in children(pid) if _session(child) == session and (ignores or not _ignores(child, signal.SIGTSTP))]


def _session(pid):
    return (_stat(pid) + [None] * 4)[3]


def _ignores(pid, number):
    return bool(int(_status(pid).get(b'SigIgn', b'0'), 16) >> number - 1 & 1)


def _status(pid):
    """What the kernel says of a process for people, line by line, {} where there is none."""
    return dict(line.split(b':', 1) for line in (read('/proc/%d/status' % pid) or b'').splitlines() if b':' in line)


def family(pid):
    """The PIDs of a master and its workers."""
    return set(workers(pid) + [pid])


def run_by(user):
    """The PIDs of the processes of a user ID, one after the other."""
    for pid in [int(entry) for entry in os.listdir('/proc') if entry.isdigit()]:
        if (credentials(pid) or (None,))[0] == user:
            yield pid


def uptime():
    """Seconds since the host was booted."""
    return float((read('/proc/uptime') or b'0').split()[0])


def age(pid):
    """Seconds since a process was started, None for a dead one."""
    found = process(pid)
    return uptime() - found[1] / _TICKS if found else None


def _in_memory(pid, name, limit):
    """What a process keeps in its own memory, the bytes of its `cmdline` or `environ`; None where that can't be read, or not in time.

    A process may write there what it likes, as much as it likes. And the kernel waits for the lock of that memory, which threads of the process can have
    taken for minutes: whoever waits can only be killed (before Linux 5.3 not even that), so a thread waits, and dies with us. Root's own are read at once.
    """
    path = '/proc/%d/%s' % (pid, name)
    if (credentials(pid) or (None,))[0] == 0:
        return read(path, limit)
    one = pid, (process(pid) or (0, 0))[1]
    if one in _WAITING and _WAITING[one].is_alive():
        return None
    found = []
    reader = threading.Thread(target=lambda: found.append(read(path, limit)))
    reader.daemon = True
    try:
        reader.start()
    except RuntimeError:
        # there may be no more of them
        return None
    reader.join(MEMORY_TIMEOUT)
    if reader.is_alive():
        _WAITING[one] = reader
        return None
    return found[0] if found else None


def command_line(pid, limit=1 << 20):
    """The bytes of a process's command line, `limit` of them at most, each word with a NUL behind it; b'' where it can't be read."""
    return _in_memory(pid, 'cmdline', limit) or b''


def arguments(pid, limit=1 << 20):
    """The words of a process's command line, [] where it can't be read; one that is cut off by the limit is none."""
    return [to_native(arg) for arg in command_line(pid, limit).split(b'\0')[:-1]]


def life(pid):
    """(PID, start in clock ticks since boot, number of reloads since) of a master of uWSGI's, None for a dead one.

    A reload keeps the process, and counts in its environment (core/init.c, uwsgi_setup_reload()); -1 where root may not read that, as in a container.
    """
    found, environment = process(pid), _environment(pid)
    if not found or environment is None:
        return found and (pid, found[1], -1)
    # the process may have any number of digits there, which Python refuses, or takes minutes for
    counts = [entry[14:] for entry in environment if re.match(b'UWSGI_RELOADS=[0-9]{1,9}$', entry)]
    return pid, found[1], int(counts[0]) + 1 if counts else 0


def started_in(pid):
    """The directory in which the shell was that became a process, as that says; the process may have gone elsewhere since."""
    found = [entry[4:] for entry in _environment(pid) or [] if entry.startswith(b'PWD=')]
    return to_native(found[0]) if found else '.'


def _environment(pid):
    """The environment that a process was started with, or what it has written there since, NAME=VALUE each; None where it can't be read."""
    data = _in_memory(pid, 'environ', 1 << 20)
    return None if data is None else data.split(b'\0')


def owner(pid):
    """The user ID of a process, None for a dead one."""
    try:
        return os.stat('/proc/%d' % pid).st_uid
    except OSError:
        return None


def credentials(pid):
    """(user ID, group IDs, its own first) of a process, None for a dead one. One that runs a setuid program is who has started that."""
    found = _status(pid)
    if b'Uid' not in found:
        return None
    # the first of each four is the real one
    return int(found[b'Uid'].split()[0]), [int(found[b'Gid'].split()[0])] + [int(one) for one in found.get(b'Groups', b'').split()]


def in_unit(pid, unit):
    """Whether a process is in the control group of a systemd unit, or below it; nobody but root can put one there."""
    # where the first thread has ended, the others tell: with control groups of version 1 the kernel says "/" of that one
    threads = _threads(pid) if state(pid) == b'Z' else []
    paths = ['/proc/%d%s' % (pid, thread) for thread in [''] + ['/task/' + thread for thread in threads]]
    return any(to_bytes(unit) in group.split(b'/') for path in paths for group in groups(path))


def groups(directory):
    """The paths of the control groups of a process or thread, as bytes; directory: its own in /proc."""
    lines = [line.split(b':', 2) for line in (read(directory + '/cgroup') or b'').split(b'\n')]
    return [line[2] for line in lines if len(line) > 2]


def resident(pid):
    """The resident memory of a process in bytes, 0 for a dead one."""
    fields = (read('/proc/%d/statm' % pid) or b'0 0').split()
    return int(fields[1]) * os.sysconf('SC_PAGESIZE')


def kill(pid, number):
    """Signals a process, whether it is there or not; raises VassalError if that is forbidden."""
    try:
        os.kill(pid, number)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise VassalError('Process %d can not be signalled: %s; root is needed (become: true).' % (pid, to_native(error)))


def holds(pid, found):
    """Whether a process has the file open; where /proc hides that, whether it belongs to the process's user."""
    directory = '/proc/%d/fd' % pid
    hidden = False
    try:
        for entry in os.listdir(directory):
            try:
                if os.path.samestat(os.stat('%s/%s' % (directory, entry)), found):
                    return True
            except OSError as error:
                # otherwise it has been closed
                hidden = hidden or error.errno == errno.EACCES
    except OSError as error:
        hidden = error.errno == errno.EACCES
    return hidden and found.st_uid == owner(pid)


def write_fifo(pid, path, data):
    """Writes to a fifo, once that is proved to be one which a process has open. Returns what stood in the way, None for nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return 'can not be written (%s): restart it, or see its master-fifo' % os.strerror(error.errno)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISFIFO(found.st_mode) or not holds(pid, found):
            return 'is not the fifo of process %d: somebody put it there; restart it' % pid
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    return None


def start(argv):
    """Starts a command beside; whoever asks for its end polls what is returned."""
    return subprocess.Popen(argv)  # pylint: disable=ansible-bad-function


def run_all(commands):
    """(exit code, stdout, stderr) of commands, which are pairs of arguments and a directory; some run at once.

    AnsibleModule.run_command() waits for each one, and costs more than uWSGI's parser does.
    """

    def end(command):
        out, err = [to_native(part, errors='surrogate_or_replace') for part in command.communicate()]
        return command.returncode, out, err

    running, ended = [], []
    # uWSGI reads from its stdin when a configuration says so, and with log-master when it ends
    with open(os.devnull, 'rb') as nothing:
        for argv, cwd in commands:
            if len(running) == os.sysconf('SC_NPROCESSORS_ONLN'):
                ended.append(end(running.pop(0)))
            running.append(
                subprocess.Popen(  # pylint: disable=ansible-bad-function
                    argv, stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True, cwd=cwd
                )
            )
        return ended + [end(command) for command in running]
