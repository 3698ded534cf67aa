# Copyright (c) uwsgi.emperor contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The daemons of Debian's init script /etc/init.d/uwsgi: one uWSGI for each application, which systemd knows nothing of by name."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import re
import stat

from ansible_collections.uwsgi.emperor.plugins.module_utils import _processes
from ansible_collections.uwsgi.emperor.plugins.module_utils._processes import arguments, process
from ansible_collections.uwsgi.emperor.plugins.module_utils._systemd import EMPEROR
from ansible_collections.uwsgi.emperor.plugins.module_utils._text import to_bytes

# Bytes of a command line in which the init script's options stand: anybody's process may have a long one.
_ENOUGH = 1 << 17
# The log that the init script gives to an application's daemon.
LOG = re.compile(r'/var/log/uwsgi/app/([^/]+)\.log\Z')


def find_daemons(service):
    """The names of applications by the PIDs of the init script's daemons, masters and workers.

    service: the properties FragmentPath and ControlGroup of uwsgi.service, as systemd has them. Where the service is the Emperor's, what its
    vassals call themselves is their word.
    """
    group = service.get('ControlGroup', '') if service.get('FragmentPath') != EMPEROR else ''
    found = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit() and is_named('/proc/' + entry):
            words = arguments(int(entry), _ENOUGH)
            # the script gives it once: who writes it a thousand times is not looked at for each
            log = dict(zip(reversed(words[:-1]), reversed(words))).get('--daemonize', '')
            name = LOG.match(log)
            if name and process(int(entry)) and is_daemon('/proc/' + entry, log, group):
                found[int(entry)] = name.group(1)
    return found


def masters(found):
    """The PIDs of the masters among the daemons that find_daemons() has found, by their application's name."""
    return dict((name, pid) for pid, name in found.items() if (process(pid) or (0,))[0] not in found)


def is_named(directory):
    """Whether a process calls itself uWSGI; directory: its own in /proc."""
    return (_processes.read(directory + '/comm') or b'').startswith(b'uwsgi')


def is_daemon(directory, log, group):
    """Whether a process with the arguments of a daemon is one, as anybody can give a process these.

    Only root can open the log to write, which a daemon and its workers keep open as their standard output and error (core/logging.c, logto()), also after
    a reload; and only root can put a process in the script's service, by which those count whose log has gone, or whose files root may not look at, as
    in a container.

    directory: the process's own in /proc. group: the control group of the script's service, '' if that
    does not count.
    """
    if not is_named(directory):
        return False
    lines = (_processes.read(directory + '/cgroup') or b'').split(b'\n')
    groups = [line.split(b':', 2)[2] for line in lines if line.count(b':') > 1]
    return bool(group) and to_bytes(group) in groups or writes_to(directory, log)


def writes_to(directory, path):
    """Whether a process has a file open to write as its standard output or error; directory: the process's own in /proc."""
    for entry in directory + '/fd/1', directory + '/fd/2':
        try:
            # the link's own mode says what the file is open for
            if os.lstat(entry).st_mode & stat.S_IWUSR and os.path.samestat(os.stat(entry), os.stat(to_bytes(path))):
                return True
        except OSError:
            pass
    return False
