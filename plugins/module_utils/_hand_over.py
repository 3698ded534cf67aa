# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Hands a host's applications over to the supervisor that the role has set up: what ran them ends, and what is to run them begins.

The role has written all files before. A hand-over that is cut off at any point is made up for by the next one.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import signal
import sys
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes, _systemd
from ansible_collections.uwsgi.emperor.plugins.module_utils._daemons import find_daemons
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import TimedOut, blocks, bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import unit_of
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._units import DEFAULTS, WANTS, WATCHER
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import VassalError
from ansible_collections.uwsgi.emperor.plugins.module_utils._watcher import AGREED

EMPEROR = 'uwsgi.service'
EMPEROR_INI = '/etc/uwsgi/emperor.ini'
TARGET = '/etc/systemd/system/uwsgi-vassals.target'
# In seconds: what the daemons of the init script have for their requests, and what a killed one has to be gone.
MERCY = 30
# What systemd gives an application to stop (TimeoutStopSec), and a bit.
STOP = 95
# How long applications are waited for before the host says that systemd supervises them.
START = 30
DEATH = 5
# How often it is looked whether something has ended, and an Emperor that ends is woken.
BLINK = 0.05
WAKE = 0.1


def run(*argv):
    """(exit code, stdout, stderr) of a command, for which it is waited as long as it takes."""
    return _processes.run_all([(list(argv), None)])[0]


def within(seconds, argv):
    """run(), but raises TimedOut where that takes longer."""
    return bounded(lambda command: run(*command), seconds)(argv)


def insist(*argv):
    """Runs a command that has to succeed; raises VassalError otherwise."""
    succeeded(argv, run(*argv))


def succeeded(argv, result):
    """Raises VassalError unless a command, of which run() tells the result, has succeeded."""
    code, dummy, err = result
    if code != 0:
        raise VassalError('%s ended with %d: %s' % (' '.join(argv), code, err.strip() or 'it does not say why'))


def hand_over(supervisor, predecessors=(), disabled=()):
    """Hands all over. Returns the exit code; raises VassalError for what keeps it from that.

    supervisor: emperor or systemd. predecessors: other units that the applications run by so far. disabled: the names of those that are not
    to be started.
    """
    shown = blocks(run('systemctl', 'show', '-p', 'LoadState', '-p', 'FragmentPath', '-p', 'ControlGroup', EMPEROR)[1])[0]
    # They may outlive their service, or run without one: the script can be called by hand, and an Emperor have its name.
    end_daemons(shown)
    if supervisor == 'emperor':
        to_emperor(shown, list(predecessors))
    else:
        to_systemd(list(predecessors), disabled)
    return 0


def end_daemons(shown):
    """Ends the daemons of the init script all at once, where the script takes a second for each, and says which could not be ended.

    What is started meanwhile is not waited for. shown: as find_daemons() takes it.
    """
    left = _processes.starts(find_daemons(shown))
    for number, seconds in (signal.SIGQUIT, MERCY), (signal.SIGKILL, DEATH):
        if not left:
            return
        for pid in set(left) & set(find_daemons(shown)):
            _processes.kill(pid, number)
        end = _processes.monotonic() + seconds
        while left and _processes.monotonic() < end:
            time.sleep(BLINK)
            alive = _processes.starts(left)
            left = dict((pid, began) for pid, began in left.items() if alive.get(pid) == began)
    if left:
        # by its tracer a process outlives even that; it serves nobody any more, and the others are down meanwhile
        said = 'These daemons of /etc/init.d/uwsgi do not end though they were killed; the others do not wait for that: %s. See: ps -o stat,args -p PID\n'
        sys.stderr.write(said % ' '.join(map(str, sorted(left))))


def to_emperor(shown, predecessors):
    """From the init script, other services or systemd to the Emperor. Whoever starts the Emperor reports a failure."""
    path = shown.get('FragmentPath', '')
    if path and path != _systemd.EMPEROR and shown.get('LoadState') != 'masked':
        predecessors = [EMPEROR] + predecessors
    by_systemd = os.path.exists(_systemd.SOCKET)
    if by_systemd:
        stop_applications()
        for unit in _systemd.wanted() | set([WATCHER]):
            _files.remove('%s/%s' % (_systemd.WANTS, unit))
        _files.remove(AGREED)
        # the last, as it says that all this is still to be done
        _files.remove(_systemd.SOCKET)
    if predecessors:
        stop_awake(predecessors)
    if predecessors or by_systemd:
        run('systemd-tmpfiles', '--create', '--prefix=' + _files.RUN_DIR)
        insist('systemctl', 'daemon-reload')
        run('systemctl', 'start', EMPEROR)


def stop_applications():
    """Stops what systemd runs. An application can extend the time that systemd gives it; then it is killed, as all others are down meanwhile."""
    stop = ['systemctl', 'stop', WATCHER, 'uwsgi@*.service', 'uwsgi@*.socket']
    try:
        succeeded(stop, within(STOP, stop))
    except TimedOut:
        run('systemctl', 'kill', '--signal=KILL', 'uwsgi@*.service')
        try:
            # all others are down: nothing of one keeps the Emperor from them
            _tell(within(MERCY, stop))
        except TimedOut:
            # a process with a thread that somebody traces outlives even that
            sys.stderr.write('An application does not end though it was killed; the others do not wait for that. See: systemctl --state=deactivating\n')


def stop_awake(units):
    """Stops units. An Emperor that ends, and its master, look once a second how far they are, or when a signal wakes them."""
    stopping = _processes.start(['systemctl', 'stop'] + units)
    while stopping.poll() is None:
        run('systemctl', 'kill', '--signal=WINCH', *units)
        time.sleep(WAKE)
    if stopping.returncode != 0:
        raise VassalError('systemctl stop %s ended with %d.' % (' '.join(units), stopping.returncode))


def to_systemd(predecessors, disabled):
    """From the init script, other services or the Emperor to systemd; whoever starts an application reports a failure.

    An application's socket is open from its start on, and its service waits until the Emperor has ended it with its requests. The init
    script is masked for good: it would start everything a second time. Who takes long to come up is waited for when that is done: until then the
    module asks the Emperor, which has ended.
    """
    run('systemctl', 'stop', WATCHER, *predecessors)
    run('systemd-tmpfiles', '--create', '--prefix=' + _files.RUN_DIR)
    insist('systemctl', 'daemon-reload')
    disabled = set(to_text(name) for name in disabled)
    linked = sorted(_files.Files(DEFAULTS['available_dir'], DEFAULTS['enabled_dir']).names(DEFAULTS['enabled_dir']))
    start = ['systemctl', 'start'] + [unit_of(name) for name in linked if name not in disabled]
    if linked:
        _tell(run('systemctl', '--no-reload', 'enable', *[unit_of(name) for name in linked]))
    late = False
    try:
        _tell(within(START, start) if start[2:] else None)
    except TimedOut:
        late = True
    run('systemctl', 'stop', EMPEROR)
    run('systemctl', '--no-reload', 'disable', EMPEROR)
    for path in TARGET, WANTS, EMPEROR_INI, AGREED:
        _files.remove(path)
    _files.remove(_systemd.EMPEROR)
    os.symlink(os.devnull, _systemd.EMPEROR)
    insist('systemctl', 'daemon-reload')
    run('systemctl', 'reset-failed', EMPEROR)
    if late:
        _tell(run(*start))


def _tell(result):
    """Says what systemd has against what was asked for, of which run() tells the result."""
    if result and result[0] != 0:
        sys.stderr.write(result[2])
