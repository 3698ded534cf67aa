# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the units uwsgi@NAME.service of the Emperor's vassals know by files, and what is asked of systemd about them.

The watcher (_watcher) and what the units call (_unit_verbs) tell each other by marks how a vassal is.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import sys
import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _files, _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._host import SYSTEMCTL, layout_spec
from ansible_collections.uwsgi.emperor.plugins.module_utils._supervisor import bounded
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import FORGOTTEN, MARKS, name_of, unit_of
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import visible

# The ending of what says that the watcher wants to know how a vassal is, and does not want to enable it; and how many seconds that holds.
ASKED = '.asked'
ASKED_FOR = 10
# How many seconds it holds that a stop is to ask nobody; the unit says the same.
FORGOTTEN_FOR = 60
# The ending of what says that a verb has left a vassal without both of its links, so that these agree.
OFF = '.off'
# The ending of what says that a start or reload of a unit is under way; in it stands the job that has cut that off and was done already. The unit
# removes it once systemd has seen the end: what comes before that comes too late for the program to notice.
BEGUN = '.begun'
# The ending of what says that a unit's stop has begun to restart its vassal, for the start that follows: where the log ended then, and when that was.
RESTARTS = '.restarts'
# Where systemctl enable puts its links; nothing starts that target, as the Emperor starts what is enabled.
WANTS = '/etc/systemd/system/uwsgi-vassals.target.wants'
# The watcher's own unit.
WATCHER = 'uwsgi-vassals.service'

# The layout is the one that the role makes.
DEFAULTS = dict((option, spec['default']) for option, spec in layout_spec().items())


def run_command(argv, cwd=None):
    """(exit code, stdout, stderr) of a command, as AnsibleModule.run_command() has it."""
    return _bounded(argv, cwd=cwd)


_bounded = bounded(lambda argv, cwd=None: _processes.run_all([(argv, cwd)])[0], SYSTEMCTL)


def say(line):
    """Into the unit's journal."""
    sys.stdout.write(visible(line) + '\n')
    sys.stdout.flush()


def mark(name, accepts):
    """Sets or removes the mark of a vassal. Returns whether there was one."""
    there = os.path.exists('%s/%s' % (MARKS, unit_of(name)))
    if accepts:
        remember(name)
        _files.touch('%s/%s' % (MARKS, unit_of(name)))
    elif there:
        os.unlink('%s/%s' % (MARKS, unit_of(name)))
    return there


def forget(name):
    """Makes the next stop of a vassal's unit ask nobody, and a start after that ask the vassal."""
    mark(name, False)
    _files.touch('%s/%s' % (FORGOTTEN, unit_of(name)))


def remember(name):
    """Makes a stop of a vassal's unit ask the vassal again."""
    path = '%s/%s' % (FORGOTTEN, unit_of(name))
    if os.path.exists(path):
        os.unlink(path)


def ask(name):
    """Makes the next start of a vassal's unit, and a stop as part of a restart, only look at the vassal, for the watcher."""
    mark(name, False)
    _files.touch('%s/%s' % (MARKS, unit_of(name) + ASKED))


def asked(name, last=True):
    """Whether the watcher has asked for what a unit does, a moment ago. Answered once, to the `last` caller who asks."""
    path = '%s/%s%s' % (MARKS, unit_of(name), ASKED)
    holds = _is_recent(path, ASKED_FOR)
    if last:
        _files.remove(path)
    return holds


def switch_off(name):
    """Tells the watcher that a vassal has neither link any more, and that nothing is to be done about that."""
    _files.touch('%s/%s' % (MARKS, unit_of(name) + OFF))


def switched_off():
    """The names of which switch_off() was told since the last call."""
    found = [entry for entry in _files.entries(MARKS) if entry.endswith(OFF)]
    for entry in found:
        _files.remove('%s/%s' % (MARKS, entry))
    return set(name_of(entry[: -len(OFF)]) for entry in found)


def begin_work(name, answered=''):
    """Notes that a start or reload is under way, and which job of those that cut it off is done."""
    # where no Emperor runs there is no such directory, and systemd is to make it
    if os.path.isdir(os.path.dirname(MARKS)):
        _files.write_lines('%s/%s' % (MARKS, unit_of(name) + BEGUN), [answered])


def end_work(name):
    """Takes the note of begin_work() away. Returns the job that it names, '' for none."""
    path = '%s/%s' % (MARKS, unit_of(name) + BEGUN)
    found = ''.join(_files.read_lines(path))
    _files.remove(path)
    return found


def note_restart(name, log_offset, began):
    """Notes that a new process of a vassal is on its way, for the start of its unit."""
    _files.write_lines('%s/%s' % (MARKS, unit_of(name) + RESTARTS), ['%d %d' % (log_offset, began)])


def restarts(name):
    """What note_restart() has noted, None for nothing; takes the note away."""
    path = '%s/%s' % (MARKS, unit_of(name) + RESTARTS)
    words = ''.join(_files.read_lines(path)).split()
    _files.remove(path)
    return tuple(map(int, words)) if len(words) == 2 else None


def jobs():
    """What systemd has to do, as a dict of its jobs by unit, each a number and a type."""
    lines = [line.split() for line in run_command(['systemctl', 'list-jobs', '--no-legend', '--no-pager'])[1].split('\n')]
    return dict((words[1], (words[0], words[2])) for words in lines if len(words) > 2)


def job_of(unit, waiting):
    """(number, type) of the job for a unit among those of jobs(), each None where there is none."""
    return waiting.get(unit, (None, None))


def emperors_end(waiting):
    """How the Emperor is to end, by the jobs that wait or run: 'restart', 'stop', with which all units of vassals stop, or None."""
    kind = 'stop' if 'shutdown.target' in waiting else job_of('uwsgi.service', waiting)[1]
    return kind if kind in ('restart', 'stop') else None


def is_forgotten(name):
    """Whether forget() was told of a vassal, or the watcher has all units stopped, a moment ago."""
    return _is_recent('%s/%s' % (FORGOTTEN, unit_of(name)), FORGOTTEN_FOR)


def _is_recent(path, seconds):
    """Whether there is a note that was made so many seconds ago at most."""
    try:
        return time.time() - os.stat(path).st_mtime < seconds
    except OSError:
        return False
