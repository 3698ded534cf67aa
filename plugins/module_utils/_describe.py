# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What is told of an Emperor and its vassals to whoever asks and changes nothing."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import time

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._sockets import read_stats
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_native, to_text, visible_text
from ansible_collections.uwsgi.emperor.plugins.module_utils._vassal import expand

# uWSGI counts a worker's requests in 64 bits.
MANY = 1 << 64


def count_requests(stats):
    """The requests of all workers, None where the document has no such numbers: it is the application's own."""
    workers = stats.get('workers')
    counts = [worker.get('requests') for worker in workers if isinstance(worker, dict)] if isinstance(workers, list) else []
    return sum(counts) if counts and all(isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MANY for count in counts) else None


def describe(host, situation, view):
    """One entry of `vassals`."""
    filename = situation.filename
    entry = dict(name=to_native(situation.name), config=to_native(situation.path))
    entry.update(situation.summary())
    processes = [situation.pid] + _processes.children(situation.pid) if situation.pid else []
    options = host.configurations.options(filename) if situation.text is not None else {}
    entry.update(
        uid=_processes.owner(situation.pid) if situation.pid else None,
        workers=len(situation.workers),
        requests=None,
        rss=sum(_processes.resident(pid) for pid in processes),
        started=None,
        stale=host.is_stale(situation) if situation.pid else None,
        failures=host.supervisor.failures(filename, view),
        socket=options.get('socket'),
    )
    address = options.get('stats') or options.get('stats-server')
    stats = read_stats(address, situation.pid) if address and situation.pid else None
    if stats:
        entry['requests'] = count_requests(stats)
    age = _processes.age(situation.pid) if situation.pid else None
    if age is not None:
        entry['started'] = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - age))
    return entry


def describe_all(host, warn, patterns=None):
    """`emperor` and `vassals` of a Host, as the module uwsgi_vassal_info returns them.

    warn: is called with a sentence for whatever could not be looked at. patterns: of the names asked for, None for all.
    """
    if host.open_directory():
        warn(host.open_directory())
    emperor = dict(unit=host.supervisor.unit, pid=host.supervisor.pid, version=None, running=host.supervisor.pid is not None)
    if host.supervisor.pid:
        emperor['version'] = host.version()
    else:
        emperor['reason'] = host.supervisor.why_down
    known = host.files.known()
    names = sorted(known) if patterns is None else expand([to_text(pattern) for pattern in patterns], known)
    view = host.supervisor.snapshot(wake=False)

    def leave_out(error):
        warn(visible_text(to_native(error)))

    # of all there are, one odd file is not to hide the others
    situations = host.situations(names, view, leave_out if patterns is None else None)
    host.configurations.read([(situation.filename, None) for situation in situations if situation.text is not None])
    for sentence in host.supervisor.left_out:
        warn(sentence + '.')
    for situation in situations:
        for sentence in host.configurations.left_out(situation.filename):
            warn('%s: %s.' % (to_native(situation.name), sentence))
    return dict(emperor=emperor, vassals=[describe(host, situation, view) for situation in situations])
